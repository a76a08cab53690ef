"""Boxes in, masks out, as a user runs it: a folder without any mask, from import to report."""

from __future__ import annotations

import contextlib
import html
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO

from pipeline.data.coco import read_coco
from pipeline.data.shapes.dataset import class_names, generate_split
from pipeline.labels.label_file import LabelFile
from pipeline.params import Shapes
from tests.clone import clone, replaced, run

SIDE = 64
CROWD, NARROW = 9001, 9002  # annotation ids in train; val has a crowd of the id CROWD, too
MICRO = {
    "processes: 2": "processes: 1",
    "crop_size: 96": "crop_size: 32",
    "steps: 560": "steps: 4",
    "steps: 4000": "steps: 8",
    "warmup_steps: 100": "warmup_steps: 2",
    "[256, 288, 320]": f"[{SIDE}]",
    "max_side: 512": f"max_side: {SIDE}",
    "short_side: 288": f"short_side: {SIDE}",
    "score_threshold: 0.05": "score_threshold: 0.001",
    "detections_per_image: 400": "detections_per_image: 5",
    "bootstrap_samples: 1000": "bootstrap_samples: 100",
    "gallery: 3": "gallery: 1",
}


def write_folder(folder: Path) -> None:
    """Scenes as PNG files, and boxes alone in json: no masks and no areas."""
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for split, count in (("train", 12), ("val", 6)):
        shapes = Shapes(train=12, val=6, size=SIDE, seed=0, hard=False, processes=1)
        images: list[dict[str, Any]] = []
        rows: list[dict[str, Any]] = []
        for index, (png, drawn) in enumerate(generate_split(shapes, split, count)):
            name = f"{split}-{index}.png"
            (folder / "images" / name).write_bytes(png)
            images.append({"id": 10 * index, "file_name": name, "width": SIDE, "height": SIDE})
            for row in drawn:
                box = {key: row[key] for key in ("category_id", "bbox")}
                rows.append({**box, "id": 7 * len(rows) + 3, "image_id": 10 * index})
        rows.insert(4, {**rows[0], "id": CROWD, "bbox": [5.5, 8, 30, 20.25], "iscrowd": 1})
        if split == "train":
            rows.insert(9, {**rows[0], "id": NARROW, "bbox": [40, 9, 2, 12]})
        categories = [{"id": key, "name": name} for key, name in enumerate(class_names(shapes.hard), 1)]
        content = {"images": images, "annotations": rows, "categories": categories}
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def repository(root: Path, tmp_path_factory: pytest.TempPathFactory, python_on_path: None) -> Path:
    """A clone with the preset at micro size, and the folder as data/mine."""
    folder = tmp_path_factory.mktemp("clone")
    preset = "presets/coco-folder.yaml"
    clone(root, folder, {preset: replaced((root / preset).read_text(encoding="utf-8"), MICRO)})
    write_folder(folder / "data" / "mine")
    return folder


@pytest.fixture(scope="module")
def done(repository: Path) -> subprocess.CompletedProcess[str]:
    """`dvc repro`: one process of DVC for all stages, in two thirds of the time that one for each takes."""
    used = run(repository, "pipeline", "use", "coco-folder")
    assert used.returncode == 0, used.stderr
    return run(repository, "dvc", "repro")


@pytest.fixture
def own(repository: Path, done: subprocess.CompletedProcess[str]) -> Path:
    """What the benchmark has derived from the folder."""
    assert done.returncode == 0, done.stdout + done.stderr
    return repository / "data" / "own"


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def given(repository: Path, split: str) -> dict[int, dict[str, Any]]:
    """The annotations that the user brought, by id."""
    path = repository / "data" / "mine" / "annotations" / f"instances_{split}.json"
    return {row["id"]: row for row in read(path)["annotations"]}


@pytest.mark.slow
class TestBoxesIn:
    """One run of the preset, looked at by all tests."""

    def test_repro_makes_everything(self, repository: Path, done: subprocess.CompletedProcess[str]) -> None:
        assert done.returncode == 0, done.stdout + done.stderr
        again = run(repository, "pipeline", "repro")
        assert again.returncode == 0, again.stdout + again.stderr
        assert "everything is up to date" in again.stdout
        assert "report: reports/own/index.html" in again.stdout

    def test_the_only_masks_are_made_ones(self, repository: Path, own: Path) -> None:
        data = repository / "data"
        masked = {
            path.relative_to(data).parts[:3]
            for path in data.rglob("*.json")
            if '"segmentation"' in path.read_text(encoding="utf-8")
        }
        rows = ("folder_boxinst", "folder_mal", "folder_condinst_mal", "folder_fill", "folder_ellipse")
        assert masked == {
            ("own", "labels", "folder_mal_masks"),
            *(("own", "predictions", row) for row in rows),
        }

    def test_every_annotation_has_a_mask_or_is_accounted_for(self, repository: Path, own: Path) -> None:
        boxes, content = given(repository, "train"), read(own / "labels" / "folder_mal_masks" / "labels.json")
        assert content["info"]["account"] == {
            "annotations": len(boxes),
            "labelled": len(boxes) - 2,
            "empty": [],
            "too_small": [NARROW],
            "crowds_copied": 1,
            "left_out_before": {"crowds": 0, "without_mask": 0},
        }
        rows = {row["id"]: row for row in content["annotations"]}
        assert rows.keys() == boxes.keys() - {NARROW}
        for key, row in rows.items():
            wanted = boxes[key] | {"iscrowd": int(key == CROWD)}
            assert {name: row[name] for name in wanted} == wanted

    def test_pycocotools_reads_the_masks(self, own: Path) -> None:
        folder = own / "labels" / "folder_mal_masks"
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO(str(folder / "labels.json"))
            results = coco.loadRes(str(folder / "results.json"))
        assert set(coco.getAnnIds(iscrowd=True)) == {CROWD}
        assert len(results.anns) == len(coco.anns) - 1
        for row in coco.anns.values():
            mask = coco.annToMask(row)
            assert mask.shape == (SIDE, SIDE)
            assert mask.any()
        assert coco.annToMask(coco.anns[CROWD])[8:29, 5:36].all()

    def test_the_masks_are_training_input(self, repository: Path, own: Path) -> None:
        path = own / "labels" / "folder_mal_masks" / "labels.json"
        labels = LabelFile.read(path)
        assert labels.kind == "masks"
        assert labels.left_out == (CROWD,)
        trained = read(own / "models" / "folder_condinst_mal" / "seed-0" / "model.json")
        assert trained["train_images"] == labels.annotated_images > 0
        again = read_coco(path, repository / "data" / "mine" / "images", processes=1)
        assert again.warnings == []
        assert again.coco["annotations"] == [
            {key: value for key, value in row.items() if key != "score"} for row in read(path)["annotations"]
        ]

    def test_every_row_has_a_mask_for_every_object_and_for_no_crowd(
        self, repository: Path, own: Path
    ) -> None:
        objects = given(repository, "val").keys() - {CROWD}
        rows = list((own / "predictions").glob("*/seed-0/in_boxes.json"))
        assert len(rows) == 5
        for row in rows:
            assert {entry["annotation_id"] for entry in read(row)} == objects, row

    def test_the_report_shows_the_masks_and_says_what_needs_ground_truth(
        self, repository: Path, own: Path
    ) -> None:
        reports, count = repository / "reports" / "own", len(given(repository, "val").keys() - {CROWD})
        page = html.unescape((reports / "index.html").read_text(encoding="utf-8"))
        brief = (reports / "report.md").read_text(encoding="utf-8").replace("\\_", "_")
        for text in (page, brief):
            for figure in ("mask", "boundary", "mask_iou"):
                reason = f"needs ground-truth masks, which {count} of {count} objects lack"
                assert f"{figure}: {reason}" in text
            assert "compare with ground-truth masks of the training images, of which there are none" in text
            assert "Box AP" in text
        exported, gallery = page.split('<section id="gallery">')
        assert exported.count('<article class="scene') == gallery.count('<article class="scene') == 3
        assert exported.count('alt="Masks of folder_mal_masks"') == 3
        assert (reports / "figures" / "gallery.png").stat().st_size > 0
