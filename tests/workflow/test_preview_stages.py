"""The stages of previews: what reads them, and that they start without PyTorch and write their outputs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.params_file import load_params
from pipeline.workflow.dag import Dag, dependencies, producers, read_dag
from tests.report.prior_files import write_cams, write_labels, write_regions, write_store
from tests.workflow.repository import add_semantic, copy_pipeline


@pytest.fixture(scope="module")
def folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A row in each table of the semantic task, and the files that their previews read."""
    folder = copy_pipeline(root, tmp_path_factory.mktemp("previews"))
    add_semantic(folder)
    layout = Layout(folder, "demo")
    write_store(layout.prepared / "train")
    write_regions(layout.segments("fine"))
    write_cams(layout.cams("spread"))
    write_labels(layout.labels("from_tags").parent)
    return folder


@pytest.fixture(scope="module")
def dag(folder: Path) -> Dag:
    return read_dag(folder)


@pytest.fixture(scope="module")
def params(folder: Path) -> Params:
    return load_params(folder / "params.yaml")


def previews(dag: Dag) -> set[str]:
    return {name for name in dag if name.startswith("preview_")}


def test_every_over_segmentation_and_label_set_of_maps_has_a_preview(dag: Dag, params: Params) -> None:
    assert previews(dag) == {
        *("preview_segments@fine", "preview_file_segments@drawn"),
        *("preview_tag_cams@from_tags", "preview_box_cams@from_boxes"),
    }
    layout = Layout(Path(), params.benchmark)
    wanted = {("segments", name) for name in params.all_segments} | {
        ("cams", name) for name in params.cam_labels
    }
    outs = [out for name in previews(dag) for out in dag[name].outs]
    assert sorted(outs) == sorted(
        path.as_posix() for of in wanted for path in (layout.preview(*of), layout.preview_figures(*of))
    )


def test_no_training_reads_a_preview(dag: Dag) -> None:
    """What compares and reports reads them, with all that evaluation writes, and nothing else."""
    readers = {name for name, before in dependencies(dag).items() if before & previews(dag)}
    assert readers == {"compare@demo", "report@demo"}
    assert dependencies(dag)["preview_segments@fine"] == {"generate@shapes", "segments@fine"}
    assert dependencies(dag)["preview_tag_cams@from_tags"] == {
        *("generate@shapes", "tag_cam_labels@from_tags", "refined_cams@spread")
    }


def test_no_row_of_the_comparison_can_have_their_folder(dag: Dag) -> None:
    for name in previews(dag):
        for out in dag[name].outs:
            assert [stage.name for stage in producers(dag, out)] == [name]
            assert "." in Path(out).parent.name, "no name of a row has a dot"


@pytest.mark.parametrize(
    ("stage", "name", "kind"),
    [("preview_segments", "fine", "segments"), ("preview_cams", "from_tags", "cams")],
)
def test_a_preview_is_drawn_without_pytorch(
    root: Path, folder: Path, stage: str, name: str, kind: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", root / "stages" / f"{stage}.py", "--name", name],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(r"\| +cv2$", done.stderr, re.MULTILINE), "the imports are listed"
    assert not re.search(r"\| +torch$", done.stderr, re.MULTILINE)
    layout = Layout(folder, "demo")
    assert layout.preview(kind, name).read_bytes().startswith(b"\x89PNG")
    assert layout.preview_figures(kind, name).is_file()
