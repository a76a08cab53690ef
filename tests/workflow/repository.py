"""A repository with the project's pipeline and params, for tests to break."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from pipeline.workflow.dag import Dag
from tests import semantic_settings
from tests.methods.cam.tag_labels import CONFIDENT, cams_row, refined_row

SEMANTIC = (
    "paint",
    "weak_labels",
    "segments",
    "cams",
    "tag_cam_labels",
    "box_cam_labels",
    "grown_labels",
    "scored_labels",
    "semantic_models",
    "semantic_methods",
    "embeddings",
    "spread_labels",
    "spread_cam_labels",
    "classifiers",
    "semantic_runs",
)  # tables that the demo has rows in


def copy_pipeline(root: Path, folder: Path) -> Path:
    """Make `folder` a repository with params.yaml and dvc.yaml of `root`, without its data; returns it."""
    for name in ("params.yaml", "dvc.yaml", ".dvcignore"):
        shutil.copy(root / name, folder / name)
    (folder / ".dvc").mkdir()
    shutil.copy(root / ".dvc" / "config", folder / ".dvc" / "config")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


def edit(repository: Path, old: str, new: str) -> None:
    """Replace the first `old` in its params.yaml by `new`."""
    path = repository / "params.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def set_table(repository: Path, table: str, rows: object) -> None:
    """Give a table of its params.yaml these rows instead of those that it has."""
    path = repository / "params.yaml"
    text = path.read_text(encoding="utf-8")
    pattern = re.compile(rf"^{table}:.*\n(?: .*\n)*", re.MULTILINE)
    assert len(pattern.findall(text)) == 1
    path.write_text(pattern.sub(lambda _: f"{table}: {json.dumps(rows)}\n", text), encoding="utf-8")


def drop_semantic(repository: Path) -> None:
    """Take all rows of the semantic task out of its params.yaml."""
    for table in SEMANTIC:
        set_table(repository, table, [] if table == "scored_labels" else {})


def edited(root: Path, folder: Path, old: str, new: str) -> Path:
    """The demo's params.yaml with the first `old` replaced by `new`, in `folder`; returns its path."""
    text = (root / "presets" / "demo.yaml").read_text(encoding="utf-8")
    assert old in text
    path = folder / "params.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def import_from(repository: Path, table: str, row: str) -> None:
    """Take the dataset from a row `mine` of one of the tables import_*, in place of the scenes."""
    path = repository / "params.yaml"
    head, tail = path.read_text(encoding="utf-8").split("generate:\n", 1)
    tail = tail[tail.index("import_coco: {}") :]
    assert f"{table}: {{}}" in tail
    tail = tail.replace(f"{table}: {{}}", f"{table}:\n  mine: {row}", 1)
    path.write_text(f"{head}generate: {{}}\n{tail}", encoding="utf-8")
    if table not in ("import_coco", "import_cityscapes"):
        set_table(repository, "paint", {})  # the dataset has label maps of its own


def add_weight_file(repository: Path, path: str) -> None:
    """The run boxinst starts from the weights in `path`, a row of weight_files called `own`."""
    edit(
        repository,
        "weight_files: {}",
        f"weight_files:\n  own: {{architecture: small, path: {path}, content: backbone}}",
    )
    row = "settings: boxinst\n    model: condinst_small\n    labels: boxes\n    backbone: "
    edit(repository, f"{row}shapes_pretrained", f"{row}own")


def start_from(repository: Path, run: str, start: str) -> None:
    """Give a run of the demo another row of backbones or weight_files."""
    path = repository / "params.yaml"
    head, tail = path.read_text(encoding="utf-8").split(f"\n  {run}:\n    title", 1)
    tail = tail.replace("backbone: shapes_pretrained\n", f"backbone: {start}\n", 1)
    path.write_text(f"{head}\n  {run}:\n    title{tail}", encoding="utf-8")


def add_sam(repository: Path, weights: str) -> None:
    """A baseline `prompted` of Segment Anything with its weights in the folder `weights`."""
    row = f"title: SAM, detections: boxinst, oracle: oracle, weights: {weights}, device: auto"
    edit(repository, "sam: {}", f"sam:\n  prompted: {{{row}}}")


def add_splits(repository: Path, **percents: float) -> None:
    """More rows of splits: name = percentage of the images whose masks are labels."""
    rows = (
        f"\n  {name}: {{percent: {percent}, rule: stratified, seed: 0, pool: all}}"
        for name, percent in percents.items()
    )
    edit(repository, "\nsplits:", f"\nsplits:{''.join(rows)}")


def add_split_list(repository: Path, name: str, path: str) -> None:
    """Masks of the images that the file `path` names: a row of split_lists."""
    edit(repository, "split_lists: {}", f"split_lists:\n  {name}: {{path: {path}, pool: rest}}")


def train_on(repository: Path, run: str, old: str, new: str) -> None:
    """Give a run of the demo, whose labels are `old`, other ones."""
    path = repository / "params.yaml"
    head, tail = path.read_text(encoding="utf-8").split(f"\n  {run}:\n    title", 1)
    assert f"labels: {old}\n" in tail
    tail = tail.replace(f"labels: {old}\n", f"labels: {new}\n", 1)
    path.write_text(f"{head}\n  {run}:\n    title{tail}", encoding="utf-8")


def add_semantic(repository: Path) -> None:
    """A row in each table of the semantic task instead of the demo's, from label maps to SPML."""
    start = {"labels": "tags", "backbone": "shapes_pretrained"}
    built_in = {"kind": "built_in", "words": 12, "scales": 1, "spectral": 0.0}
    cut: dict[str, object] = {
        "hierarchy": {"kind": "area"},
        "cut": {"kind": "count", "count": 40},
        "min_region": 0,
        "most": 255,
        "processes": 1,
    }
    rows: dict[str, dict[str, dict[str, object]]] = {
        "paint": {split: {"processes": 1} for split in ("train", "val")},
        "weak_labels": {
            kind: {"kind": kind, "split": "train", "percent": 100.0, "seed": 0, "processes": 1}
            for kind in ("tags", "pixels")
        },
        "own_maps": {
            "mine": {"path": "data/mine", "kind": "points", "value_255": "unlabelled", "processes": 1}
        },
        "own_tags": {"told": {"path": "data/tags.json"}},
        "own_scribbles": {
            "drawn": {"path": "data/drawn", "length": 1.0, "radius": 3, "seed": 0, "processes": 1}
        },
        "segments": {"fine": {"contours": built_in, **cut}},
        "file_segments": {"drawn": {"contours": {"kind": "files", "path": "data/contours"}, **cut}},
        "cams": {"plain": {**cams_row().model_dump(mode="json"), **start}},
        "refined_cams": {"spread": {**refined_row().model_dump(mode="json"), **start, "cams": "plain"}},
        "tag_cam_labels": {
            "from_tags": {
                "kind": "cam_tags",
                "cams": "spread",
                "labels": "tags",
                "background": {"kind": "power", "alpha": 6.0},
                "least_score": 0.2,
                "processes": 1,
            }
        },
        "box_cam_labels": {
            "from_boxes": {
                "kind": "cam_boxes",
                "cams": "plain",
                "labels": "tags",
                "boxes": "boxes",
                "threshold": 0.5,
                "processes": 1,
            }
        },
    }
    rows["grown_labels"] = {
        "grown": {"labels": "drawn", "segments": "fine", "processes": 1},
    }
    set_table(repository, "scored_labels", ["grown", "from_tags", "spread_points"])
    for table, content in (rows | _spml_rows()).items():
        set_table(repository, table, content)


def _spml_rows() -> dict[str, dict[str, dict[str, object]]]:
    """SPML from points and from tags, both in two ways, and the oracle."""
    methods = {
        "embed": semantic_settings.spml(),
        "classify": semantic_settings.classifier(),
        "supervise": semantic_settings.supervised(),
    }
    network = {"model": "pyramid", "backbone": "shapes_pretrained"}
    windows = semantic_settings.inference().model_dump(mode="json")
    spread = {
        "walk": semantic_settings.walk().model_dump(mode="json"),
        "windows": windows,
        "dense_crf": CONFIDENT.dense_crf.model_dump(mode="json"),
        "processes": 1,
        "threads": 1,
    }
    embedding = {"settings": "embed", "segments": "fine", "seed": 3, **network}
    retrieval = semantic_settings.retrieval().model_dump(mode="json")
    row = {"task": "semantic", "oracle": "all_pixels", "seeds": [0], "prediction": "one_scale"}
    return {
        "semantic_models": {"pyramid": semantic_settings.pixel_embedding().model_dump(mode="json")},
        "semantic_methods": {name: method.model_dump(mode="json") for name, method in methods.items()},
        "embeddings": {
            "of_points": {"labels": "mine", **embedding},
            "of_tags": {"labels": "from_tags", **embedding},
        },
        "spread_labels": {"spread_points": {"embedding": "of_points", "labels": "mine", **spread}},
        "spread_segment_labels": {
            "segment_points": {
                "embedding": "of_points",
                "labels": "mine",
                "segments": "fine",
                "grid": 4,
                "iterations": 5,
                **spread,
            }
        },
        "spread_cam_labels": {
            "spread_tags": {
                "embedding": "of_tags",
                "labels": "tags",
                "cams": "plain",
                "alpha": 6.0,
                "retrieval": retrieval,
                **spread,
            }
        },
        "retrieved_labels": {
            "second_tags": {
                "embedding": "of_tags",
                "classifier": "spml_tags",
                "seed": 0,
                "labels": "tags",
                "inference": windows,
                "retrieval": retrieval,
                **{key: value for key, value in spread.items() if key != "windows"},
            }
        },
        "classifiers": {
            f"spml_{kind}": {
                "title": f"SPML, {kind}",
                "settings": "classify",
                "embedding": f"of_{kind.split('_')[-1]}",
                "labels": labels,
                **row,
            }
            for kind, labels in (
                ("points", "spread_points"),
                ("tags", "spread_tags"),
                ("second_tags", "second_tags"),
                ("segment_points", "segment_points"),
            )
        },
        "semantic_runs": {
            "all_pixels": {
                "title": "All pixels",
                "settings": "supervise",
                "labels": "pixels",
                **network,
                **row,
            }
        },
    }


def with_dep(dag: Dag, stage: str, dep: str) -> Dag:
    """The graph in which `stage` depends on the file `dep`, too."""
    return {**dag, stage: replace(dag[stage], deps=(*dag[stage].deps, dep))}
