"""What MAL trains: a student with gradients and a teacher that follows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.data.images import ImageStore
from pipeline.data.masks import decode
from pipeline.engine.devices import pick_device
from pipeline.engine.loop import fit
from pipeline.methods.build import build_labeler
from pipeline.methods.mal.crops import BoxCrops, LabelingCrops
from pipeline.methods.mal.labeling import label_boxes
from tests.methods.mal.toy_labeling import CENTERS, SIDE, disc, make_boxes, make_store, settings


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return make_store(tmp_path / "train")


def batch(root: Path, store: ImageStore, tmp_path: Path) -> list[object]:
    mal, model, _ = settings(root)
    crops = BoxCrops(store, make_boxes(tmp_path / "boxes.json"), mal, model.crop_size, seed=0)
    return [crops[index, 0] for index in range(len(crops))]


def test_only_the_student_learns_and_the_teacher_follows(
    root: Path, store: ImageStore, tmp_path: Path
) -> None:
    mal, model, _ = settings(root)
    torch.manual_seed(0)
    method = build_labeler(mal, model, epoch_steps=1)
    networks = method.networks
    losses = method.losses(batch(root, store, tmp_path), 3)
    assert set(losses) == {"loss_mil", "loss_crf"}
    torch.stack(list(losses.values())).sum().backward()
    assert all(parameter.grad is not None for parameter in networks.student.parameters())
    assert not any(parameter.requires_grad for parameter in networks.teacher.parameters())
    before = [parameter.clone() for parameter in networks.teacher.parameters()]
    with torch.no_grad():
        for parameter in networks.student.parameters():
            parameter += 1.0
    method.after_step(3)
    for old, new in zip(before, networks.teacher.parameters(), strict=True):
        torch.testing.assert_close(new, old + (1 - mal.teacher_momentum), rtol=0, atol=1e-5)


def test_the_first_step_costs_nothing_and_later_epochs_are_warm(
    root: Path, store: ImageStore, tmp_path: Path
) -> None:
    mal, model, _ = settings(root)
    torch.manual_seed(0)
    samples = batch(root, store, tmp_path)
    method = build_labeler(mal, model, epoch_steps=4)
    first, cold, warm = (method.losses(samples, step) for step in (0, 2, 4))
    assert all(float(value.detach()) == 0 for value in first.values())
    assert float(cold["loss_mil"].detach()) == pytest.approx(
        2 / mal.mil_warmup * float(warm["loss_mil"].detach()), rel=1e-5
    )


@pytest.mark.parametrize(("start", "equal"), [("copy", True), ("own", False)])
def test_the_teacher_starts_as_params_say(root: Path, start: str, equal: bool) -> None:
    mal, model, _ = settings(root)
    networks = build_labeler(mal.model_copy(update={"teacher_start": start}), model, epoch_steps=1).networks
    pairs = zip(networks.student.parameters(), networks.teacher.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs) is equal


@pytest.mark.slow
def test_boxes_teach_the_masks_of_discs(root: Path, store: ImageStore, tmp_path: Path) -> None:
    """From boxes alone to masks that are far closer to discs than their filled boxes (IoU .79)."""
    mal, model, labeling = settings(root)
    labels = make_boxes(tmp_path / "boxes.json")
    torch.manual_seed(0)
    method = build_labeler(mal, model, epoch_steps=2)
    crops = BoxCrops(store, labels, mal, model.crop_size, seed=0)
    fit(method, crops, mal.train, seed=0, checkpoint=tmp_path / "checkpoint", key="k", name="mal")
    method.module.eval()
    given = LabelingCrops(store, labels, mal, model.crop_size)
    ious = []
    device = pick_device()
    for masks in label_boxes(method.networks, given, range(len(given)), labeling, device=device, name="mal"):
        for mask in masks:
            made = decode([mask.rle], (SIDE, SIDE))[0]
            image_id, place = divmod(mask.annotation_id, 10)
            truth = disc(CENTERS[image_id][place])
            ious.append((made & truth).sum() / (made | truth).sum())
    assert np.mean(ious) > 0.88
