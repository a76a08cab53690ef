"""From a trained auto-labeler to a label file of masks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from pycocotools.coco import COCO

from pipeline import params
from pipeline.data.dataset import LabelledImages
from pipeline.data.images import ImageStore
from pipeline.data.masks import areas, decode
from pipeline.errors import UserError
from pipeline.labels.label_file import Category, LabelFile
from pipeline.methods import bundle
from pipeline.methods.build import build_labeler
from pipeline.methods.mal import labeling as module
from pipeline.methods.mal.crops import LabelingCrops
from pipeline.methods.mal.labeling import label_given_boxes, write_pseudo_labels
from pipeline.methods.mal.pseudo_masks import CUT, crop_probabilities
from pipeline.methods.mal.refinement import refine_crops, refine_logits
from pipeline.params_file import load_params
from tests.methods.mal.toy_labeling import CENTERS, SIDE, make_boxes, make_store, settings

CPU = torch.device("cpu")
TINY = {"id": 99, "image_id": 3, "category_id": 1, "iscrowd": 0, "area": 10, "bbox": [5, 5, 2, 5]}
CROWD = {"id": 77, "image_id": 2, "category_id": 1, "iscrowd": 1, "area": 1200, "bbox": [4, 6, 40, 30]}


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return make_store(tmp_path / "train")


@pytest.fixture
def model(root: Path, tmp_path: Path) -> Path:
    mal, network, _ = settings(root)
    torch.manual_seed(0)
    method = build_labeler(mal, network, epoch_steps=1)
    with torch.no_grad():  # apart, so that it shows which of the two labels
        for parameter in method.networks.teacher.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    bundle.save_bundle(tmp_path / "model", method.module, mal, network, [Category(1, "disc")], 3)
    return tmp_path / "model"


def write(
    model: Path, store: ImageStore, tmp_path: Path, labeling: params.Labeling, name: str = "out"
) -> Path:
    write_pseudo_labels(
        model,
        store,
        tmp_path / "boxes.json",
        labeling,
        tmp_path / name,
        device=CPU,
        checkpoint=tmp_path / "checkpoint",
        key="k",
        name="labels",
    )
    return tmp_path / name / "labels.json"


def test_every_annotation_gets_a_mask_in_its_box_or_is_accounted_for(
    root: Path, model: Path, store: ImageStore, tmp_path: Path
) -> None:
    labeling = settings(root)[2]
    boxes = make_boxes(tmp_path / "boxes.json", [TINY, CROWD])
    path = write(model, store, tmp_path, labeling)
    made = LabelFile.read(path)
    assert made.kind == "masks"
    assert 77 in made.left_out
    content = json.loads(path.read_text())
    assert content["info"]["account"]["too_small"] == [99]
    assert content["info"]["account"]["crowds_copied"] == 1
    assert content["info"]["labeling"] == labeling.model_dump(mode="json", exclude={"workers"})
    given = {row["id"]: row["bbox"] for row in json.loads(boxes.path.read_text())["annotations"]}
    assert {row["id"] for row in content["annotations"]} == given.keys() - {99}
    for row in content["annotations"]:
        x, y, width, height = row["bbox"]
        assert row["bbox"] == given[row["id"]]
        mask = decode([row["segmentation"]], (SIDE, SIDE))[0]
        # The box mask has its far ends included, and bilinear enlargement may reach one pixel farther.
        mask[max(y - 2, 0) : y + height + 3, max(x - 2, 0) : x + width + 3] = False
        assert not mask.any()
    coco = COCO(str(path))
    assert sorted(coco.getAnnIds()) == sorted(given.keys() - {99})
    assert coco.loadRes(str(path.with_name("results.json"))).getAnnIds()


def test_a_box_that_float32_makes_too_thin_is_accounted_for(
    root: Path, model: Path, store: ImageStore, tmp_path: Path
) -> None:
    """Its width is above 2 in the json, and 2 between the corners that are cropped by."""
    row = TINY | {"bbox": [40.0, 40.0, 2.000001, 5.0]}
    make_boxes(tmp_path / "boxes.json", [row])
    content = json.loads(write(model, store, tmp_path, settings(root)[2]).read_text())
    assert content["info"]["account"]["too_small"] == [99]


def test_a_box_that_is_too_large_to_be_cropped_is_told_before_the_work(
    root: Path, model: Path, store: ImageStore, tmp_path: Path
) -> None:
    make_boxes(tmp_path / "boxes.json", [TINY | {"bbox": [5, 5, 40000, 40000]}])
    with pytest.raises(UserError, match=r"boxes\.json: annotation 99: its box is too large"):
        write(model, store, tmp_path, settings(root)[2])


def test_the_same_masks_come_for_given_boxes(
    root: Path, model: Path, store: ImageStore, tmp_path: Path
) -> None:
    labeling = settings(root)[2]
    boxes = make_boxes(tmp_path / "boxes.json", [TINY, CROWD])
    rows = json.loads(write(model, store, tmp_path, labeling).read_text())["annotations"]
    given = label_given_boxes(model, store, boxes, labeling, device=CPU, name="mal")
    assert len(given) == sum(map(len, CENTERS.values())) + 1
    masks = {entry["annotation_id"]: entry["segmentation"] for entry in given}
    assert not decode([masks.pop(99)], (SIDE, SIDE)).any()
    assert masks == {row["id"]: row["segmentation"] for row in rows if not row["iscrowd"]}


def test_a_killed_labelling_goes_on_to_the_same_bytes(
    root: Path, model: Path, store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labeling = settings(root)[2]
    make_boxes(tmp_path / "boxes.json")
    whole = write(model, store, tmp_path, labeling).read_bytes()
    asked: list[int] = []

    class SmallShards(module.PseudoLabels):
        def __init__(self, source: Path, resume: Path, key: str, *, min_side: float) -> None:
            super().__init__(source, resume, key, min_side=min_side, shard_boxes=2)
            asked.append(len(self.remaining))

        def add(self, chunk: object) -> None:
            if len(asked) == 1 and len(self.remaining) < 4:
                raise KeyboardInterrupt
            super().add(chunk)

    monkeypatch.setattr(module, "PseudoLabels", SmallShards)
    with pytest.raises(KeyboardInterrupt):
        write(model, store, tmp_path, labeling, "again")
    assert not (tmp_path / "again").exists()
    assert write(model, store, tmp_path, labeling, "again").read_bytes() == whole
    assert asked == [5, 3]
    assert not (tmp_path / "checkpoint").exists()


def test_any_number_of_workers_gives_the_same_bytes(
    root: Path, model: Path, store: ImageStore, tmp_path: Path
) -> None:
    labeling = settings(root)[2]
    make_boxes(tmp_path / "boxes.json")
    alone, helped = (
        write(model, store, tmp_path, labeling.model_copy(update={"workers": workers}), f"with-{workers}")
        for workers in (0, 2)
    )
    for name in ("labels.json", "results.json"):
        assert alone.with_name(name).read_bytes() == helped.with_name(name).read_bytes()


def test_options_change_the_masks(root: Path, model: Path, store: ImageStore, tmp_path: Path) -> None:
    labeling = settings(root)[2]
    boxes = make_boxes(tmp_path / "boxes.json")
    options = (
        {},
        {"network": "teacher"},
        {"network": "mean"},
        {"flip": True},
        {"thresholds": (0.45, 0.45, 0.45)},
        {"refine": "mean_field"},
        {"refine": "dense_crf"},
    )
    made = set()
    for changes in options:
        chosen = labeling.model_copy(update=changes)
        given = label_given_boxes(model, store, boxes, chosen, device=CPU, name="mal")
        made.add(json.dumps(given))
    assert len(made) == len(options)


@pytest.mark.parametrize("refine", ["none", "mean_field", "dense_crf"])
def test_the_score_is_how_sure_the_network_is_of_the_final_mask(
    root: Path, model: Path, store: ImageStore, tmp_path: Path, refine: str
) -> None:
    """By hand, from the network's own probabilities and the mask that was written, crop by crop."""
    labeling = settings(root)[2].model_copy(update={"refine": refine})
    boxes = make_boxes(tmp_path / "boxes.json")
    rows = json.loads(write(model, store, tmp_path, labeling).read_text())["annotations"]
    scores = {row["id"]: row["score"] for row in rows if areas([row["segmentation"]])[0]}
    assert scores
    networks, mal, network = bundle.load_labeler(model, CPU)
    crops = LabelingCrops(store, boxes, mal, network.crop_size)
    for crop in map(crops.__getitem__, range(len(crops))):
        if crop.annotation_id not in scores:
            continue
        images = networks.student.normalise(crop.image[None])
        logits = networks.student(images, torch.tensor([crop.area])).float()
        own = crop_probabilities(logits.detach(), crop.box[None])
        if refine == "none":
            deciding, cut = own, labeling.thresholds[0]
        elif refine == "mean_field":
            deciding, cut = refine_logits(logits, images, crop.box[None], labeling.mean_field), CUT
        else:
            deciding, cut = refine_crops(own, crop.image[None], crop.box[None], labeling.dense_crf), CUT
        expected = float(own[deciding > cut].mean())
        assert scores[crop.annotation_id] == pytest.approx(expected, abs=2e-5)
        if refine != "none":
            assert abs(expected - float(deciding[deciding > cut].mean())) > 1e-3


def test_an_empty_mask_has_score_0(root: Path, model: Path, store: ImageStore, tmp_path: Path) -> None:
    labeling = settings(root)[2].model_copy(update={"thresholds": (1.0, 1.0, 1.0)})
    make_boxes(tmp_path / "boxes.json")
    rows = json.loads(write(model, store, tmp_path, labeling).read_text())["annotations"]
    assert [row["score"] for row in rows] == [0.0] * len(rows)


def test_a_labeler_without_masks_is_told_to_who_trains_on_them(
    root: Path, model: Path, store: ImageStore, tmp_path: Path
) -> None:
    labeling = settings(root)[2].model_copy(update={"thresholds": (1.0, 1.0, 1.0)})
    make_boxes(tmp_path / "boxes.json", [TINY])
    made = LabelFile.read(write(model, store, tmp_path, labeling))
    with pytest.raises(UserError, match=r"all 5 masks of the pseudo-labels out are empty"):
        LabelledImages(store, made, load_params(root / "params.yaml").methods["supervised"].augmentation, 0)


def test_a_detector_is_no_labeler(root: Path, model: Path, store: ImageStore, tmp_path: Path) -> None:
    path = model / "model.json"
    content = json.loads(path.read_text())
    content["settings"]["kind"] = "boxinst"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="does not describe a model"):
        write(model, store, tmp_path, settings(root)[2])
