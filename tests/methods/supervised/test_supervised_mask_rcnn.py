"""Mask R-CNN under the engine's protocol: learns masks, predicts in original pixels, repeats its draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline import params
from pipeline.engine.loop import fit
from pipeline.methods.supervised.mask_rcnn import SupervisedMaskRCNN
from pipeline.models.mask_rcnn import MaskRCNN, build_mask_rcnn
from pipeline.params_file import load_params
from pipeline.structures import Instances, Sample
from tests.mask_rcnn_settings import small_mask_rcnn
from tests.toy_instances import Drawn, Stopped, drawn, iou, total

NAMES = ["loss_objectness", "loss_rpn_box", "loss_class", "loss_box", "loss_mask"]


@pytest.fixture(scope="module")
def demo(root: Path) -> params.Params:
    return load_params(root / "presets" / "demo.yaml")


def settings(demo: params.Params, mask_weight: float = 1.0, **training: Any) -> params.Supervised:
    recipe = demo.methods["supervised"]
    assert isinstance(recipe, params.Supervised)
    train = recipe.train.model_copy(update=training)
    return recipe.model_copy(update={"mask_weight": mask_weight, "train": train})


def network(demo: params.Params, **changes: Any) -> MaskRCNN:
    torch.manual_seed(0)
    return build_mask_rcnn(small_mask_rcnn(**changes), 2, demo.predict)


@pytest.fixture(scope="module")
def learnt(demo: params.Params) -> SupervisedMaskRCNN:
    """Drilled on four images."""
    method = SupervisedMaskRCNN(settings(demo), network(demo), small_mask_rcnn())
    method.module.train()
    batch = [drawn(seed) for seed in range(4)]
    optimizer = torch.optim.AdamW(method.module.parameters(), lr=3e-3)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=160)
    for step in range(160):
        loss = total(method.losses(batch, step))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(method.module.parameters(), 5.0)
        optimizer.step()
        rates.step()
    return method


@pytest.mark.slow
def test_what_it_was_shown_it_finds_and_segments(learnt: SupervisedMaskRCNN) -> None:
    for seed in range(4):
        sample = drawn(seed)
        (found,) = learnt.predict([sample])
        assert sample.target.masks is not None
        for label, mask in zip(sample.target.labels, sample.target.masks, strict=True):
            overlaps = [
                iou(mask, other)
                for other, its, score in zip(found.masks, found.labels, found.scores, strict=True)
                if its == label and score > 0.5
            ]
            assert max(overlaps, default=0.0) > 0.8
        (inside,) = learnt.predict_with_boxes([sample], [sample.target.boxes])[1]
        assert min(iou(*pair) for pair in zip(inside, sample.target.masks, strict=True)) > 0.8


@pytest.mark.slow
def test_predictions_are_in_pixels_of_the_original(learnt: SupervisedMaskRCNN) -> None:
    (small,), (large,) = (learnt.predict([drawn(0, enlarged=times)]) for times in (1, 3))
    assert large.masks.shape == (len(small), 192, 192)
    assert (small.masks.sum((1, 2)) > 20).any()
    torch.testing.assert_close(large.boxes, 3 * small.boxes)
    for mask, enlarged in zip(small.masks, large.masks, strict=True):
        if mask.sum() > 20:  # pixels; a mask of a few is mostly edge
            assert iou(mask.repeat_interleave(3, 0).repeat_interleave(3, 1), enlarged) > 0.85
    boxes = drawn(0).target.boxes.as_subclass(Tensor)
    _, (masks,) = learnt.predict_with_boxes([drawn(0, enlarged=3)], [3 * boxes])
    assert masks.shape == (2, 192, 192)


@pytest.mark.slow
def test_masks_lie_in_their_boxes(learnt: SupervisedMaskRCNN) -> None:
    given = torch.tensor([[10.3, 5.2, 20.9, 60.7], [-4, -4, 30, 30], [0, 0, 64, 64], [30, 30, 30.4, 30.4]])
    (found,), (masks,) = learnt.predict_with_boxes([drawn(1)], [given])
    for boxes, inside in ((found.boxes, found.masks), (given, masks)):
        for (x1, y1, x2, y2), mask in zip(boxes.tolist(), inside, strict=True):
            rows, columns = mask.nonzero(as_tuple=True)
            assert all(x1 < column + 1 and column < x2 for column in columns.tolist())
            assert all(y1 < row + 1 and row < y2 for row in rows.tolist())
    assert masks[1].any()
    assert masks[2].any()


@pytest.mark.slow
def test_images_of_a_batch_do_not_depend_on_each_other(learnt: SupervisedMaskRCNN) -> None:
    samples = [drawn(1), drawn(2, enlarged=2)]
    together = learnt.predict(samples)
    for found, sample in zip(together, samples, strict=True):
        (alone,) = learnt.predict([sample])
        torch.testing.assert_close(found.boxes, alone.boxes, rtol=1e-4, atol=1e-3)
        assert torch.equal(found.labels, alone.labels)
        assert (found.masks != alone.masks).float().mean() < 1e-3


def test_no_boxes_and_no_detections_give_no_masks(demo: params.Params) -> None:
    predict = demo.predict.model_copy(update={"score_threshold": 1.0})
    torch.manual_seed(0)
    method = SupervisedMaskRCNN(
        settings(demo), build_mask_rcnn(small_mask_rcnn(), 2, predict), small_mask_rcnn()
    )
    samples = [drawn(0, enlarged=2), drawn(1)]
    none, some = torch.zeros(0, 4), torch.tensor([[4.0, 4, 30, 30]])
    for boxes in ([none, none], [none, some]):
        found, masks = method.predict_with_boxes(samples, boxes)
        assert [len(part) for part in found] == [0, 0]
        assert [part.masks.shape for part in found] == [(0, 128, 128), (0, 64, 64)]
        assert [part.shape for part in masks] == [(0, 128, 128), (len(boxes[1]), 64, 64)]
    assert method.predict(samples)[0].boxes.shape == (0, 4)


def test_prediction_leaves_the_mode_as_it_was(demo: params.Params) -> None:
    method = SupervisedMaskRCNN(settings(demo), network(demo), small_mask_rcnn())
    method.module.train()
    found: list[Instances] = method.predict([drawn(0)])
    assert len(found) == 1
    assert method.module.training
    assert method.module.roi_heads.training


@pytest.mark.parametrize("objects", [(2, 1), (1, 0), (0, 0)])
def test_losses_reach_every_parameter(demo: params.Params, objects: tuple[int, int]) -> None:
    """Also from images without objects: several processes could not average gradients otherwise."""
    method = SupervisedMaskRCNN(settings(demo), network(demo), small_mask_rcnn())
    batch = [drawn(3, objects=objects[0]), drawn(4, size=(40, 64), objects=objects[1])]
    losses = method.losses(batch, 0)
    assert list(losses) == NAMES
    total(losses).backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in method.module.parameters())
    assert all(torch.isfinite(loss) for loss in losses.values())
    if objects == (0, 0):
        assert float(losses["loss_mask"].detach()) == float(losses["loss_box"].detach()) == 0


def test_the_mask_loss_is_weighted(demo: params.Params) -> None:
    first, second = (
        (
            torch.manual_seed(5),
            SupervisedMaskRCNN(settings(demo, weight), network(demo), small_mask_rcnn()).losses(
                [drawn(3)], 0
            ),
        )[1]
        for weight in (1.0, 0.25)
    )
    assert float(second["loss_mask"].detach()) == pytest.approx(0.25 * float(first["loss_mask"].detach()))
    assert float(second["loss_class"].detach()) == float(first["loss_class"].detach())


def test_missing_masks_are_named(demo: params.Params) -> None:
    sample = drawn(0)
    sample.target.masks = None
    with pytest.raises(ValueError, match="needs masks"):
        SupervisedMaskRCNN(settings(demo), network(demo), small_mask_rcnn()).losses([sample], 0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU, RoI align adds up gradients in any order")
def test_a_resumed_training_draws_the_same_anchors_and_proposals(demo: params.Params, tmp_path: Path) -> None:
    training = settings(demo, steps=6, batch_size=2, checkpoint_every=2, warmup_steps=0, log_every=1).train

    def train(folder: str, stop: int = -1) -> SupervisedMaskRCNN:
        # So few are drawn that another draw would show.
        method = SupervisedMaskRCNN(
            settings(demo), network(demo, rpn_batch=8, roi_batch=4), small_mask_rcnn()
        )
        losses = method.losses

        def stopping(batch: list[Sample], step: int) -> dict[str, Tensor]:
            if step == stop:
                raise Stopped
            return losses(batch, step)

        method.losses = stopping  # type: ignore[method-assign]
        fit(method, Drawn(), training, seed=3, checkpoint=tmp_path / folder, key="key", name="tiny")
        return method

    whole = train("whole")
    with pytest.raises(Stopped):
        train("parts", stop=3)
    resumed = train("parts")
    for name, expected in whole.module.state_dict().items():
        assert torch.equal(resumed.module.state_dict()[name], expected), name
