"""Mask2Former under the engine's protocol: learns masks, predicts in original pixels, repeats its draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline import params
from pipeline.engine.loop import fit
from pipeline.methods.build import build_method
from pipeline.methods.mask2former.targets import padded_targets
from pipeline.methods.supervised.mask2former import SupervisedMask2Former
from pipeline.params_file import load_params
from pipeline.structures import Sample
from tests.mask2former_settings import small_mask2former
from tests.toy_instances import Drawn, Stopped, drawn, iou, total


@pytest.fixture(scope="module")
def demo(root: Path) -> params.Params:
    return load_params(root / "presets" / "demo.yaml")


def settings(demo: params.Params, mask_weight: float = 1.0, **training: Any) -> params.Supervised:
    recipe = demo.methods["supervised"]
    assert isinstance(recipe, params.Supervised)
    train = recipe.train.model_copy(update=training)
    return recipe.model_copy(update={"mask_weight": mask_weight, "train": train})


def build(demo: params.Params, some: params.Supervised | None = None) -> SupervisedMask2Former:
    torch.manual_seed(0)
    method = build_method(some or settings(demo), small_mask2former(), 2, demo.predict, seed=0)
    assert isinstance(method, SupervisedMask2Former)
    return method


@pytest.fixture(scope="module")
def learnt(demo: params.Params) -> SupervisedMask2Former:
    """Drilled on four images."""
    method = build(demo)
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


def test_two_steps_lower_the_loss(demo: params.Params) -> None:
    """On the same points, so that the draw does not decide."""
    method = build(demo)
    batch = [drawn(seed) for seed in range(4)]
    optimizer = torch.optim.AdamW(method.module.parameters(), lr=1e-3)
    values = []
    for step in range(3):
        torch.manual_seed(0)
        loss = total(method.losses(batch, step))
        values.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert values[2] < values[1] < values[0]


@pytest.mark.slow
def test_what_it_was_shown_it_finds_and_segments(learnt: SupervisedMask2Former) -> None:
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
def test_predictions_are_in_pixels_of_the_original(learnt: SupervisedMask2Former) -> None:
    (small,), (large,) = (learnt.predict([drawn(0, enlarged=times)]) for times in (1, 3))
    assert large.masks.shape[1:] == (192, 192)
    for place in range(2):  # the objects, in whatever order
        enlarged = small.masks[place].repeat_interleave(3, 0).repeat_interleave(3, 1)
        same = large.masks[:2][large.labels[:2] == small.labels[place]]
        assert max((iou(enlarged, mask) for mask in same), default=0.0) > 0.85
    boxes = drawn(0).target.boxes.as_subclass(Tensor)
    _, (masks,) = learnt.predict_with_boxes([drawn(0, enlarged=3)], [3 * boxes])
    assert masks.shape == (2, 192, 192)


@pytest.mark.slow
def test_images_of_a_batch_do_not_depend_on_each_other(learnt: SupervisedMask2Former) -> None:
    samples = [drawn(1), drawn(2, enlarged=2)]
    together = learnt.predict(samples)
    for found, sample in zip(together, samples, strict=True):
        (alone,) = learnt.predict([sample])
        torch.testing.assert_close(found.scores, alone.scores, rtol=1e-3, atol=1e-4)
        assert torch.equal(found.labels[:2], alone.labels[:2])
        assert (found.masks[:2] != alone.masks[:2]).float().mean() < 1e-3


def test_prediction_leaves_the_mode_as_it_was(demo: params.Params) -> None:
    method = build(demo)
    method.module.train()
    modes = [module.training for module in method.module.modules()]
    assert modes[0]
    assert len(method.predict([drawn(0)])) == 1
    assert [module.training for module in method.module.modules()] == modes


@pytest.mark.parametrize("objects", [(2, 1), (1, 0), (0, 0)])
def test_losses_reach_every_parameter(demo: params.Params, objects: tuple[int, int]) -> None:
    """Also from images without objects: several processes could not average gradients otherwise."""
    method = build(demo)
    batch = [drawn(3, objects=objects[0]), drawn(4, size=(40, 64), objects=objects[1])]
    losses = method.losses(batch, 0)
    assert sorted(losses) == sorted(
        f"loss_{kind}{layer}" for kind in ("ce", "mask", "dice") for layer in ("", "_0", "_1")
    )
    total(losses).backward()  # type: ignore[no-untyped-call]
    assert [name for name, part in method.module.named_parameters() if part.grad is None] == []
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_masks_are_padded_with_the_images() -> None:
    """An object keeps its place in a batch of unequal sizes."""
    samples = [drawn(3, size=(40, 48)), drawn(4, size=(64, 32), objects=1)]
    first, second = padded_targets([sample.target for sample in samples], (64, 64))
    assert samples[0].target.masks is not None
    assert first.masks.shape == (2, 64, 64)
    assert first.masks.dtype == torch.bool
    assert torch.equal(first.masks[:, :40, :48], samples[0].target.masks.as_subclass(Tensor))
    assert first.masks.sum() == samples[0].target.masks.sum()
    assert second.masks.shape == (1, 64, 64)
    assert first.labels.tolist() == [0, 1]


def test_both_losses_of_masks_are_weighted(demo: params.Params) -> None:
    ones, quarters = (
        (build(demo, settings(demo, weight)), torch.manual_seed(5))[0].losses([drawn(3)], 0)
        for weight in (1.0, 0.25)
    )
    for name, loss in ones.items():
        factor = 1.0 if name.startswith("loss_ce") else 0.25
        assert float(quarters[name].detach()) == pytest.approx(factor * float(loss.detach()))


def test_missing_masks_are_named(demo: params.Params) -> None:
    sample = drawn(0)
    sample.target.masks = None
    with pytest.raises(ValueError, match="needs masks"):
        build(demo).losses([sample], 0)


def test_a_resumed_training_draws_the_same_points(demo: params.Params, tmp_path: Path) -> None:
    some = settings(demo, steps=6, batch_size=2, checkpoint_every=2, warmup_steps=0, log_every=1)

    def train(folder: str, stop: int = -1) -> SupervisedMask2Former:
        method = build(demo, some)
        losses = method.losses

        def stopping(batch: list[Sample], step: int) -> dict[str, Tensor]:
            if step == stop:
                raise Stopped
            return losses(batch, step)

        method.losses = stopping  # type: ignore[method-assign]
        fit(method, Drawn(), some.train, seed=3, checkpoint=tmp_path / folder, key="key", name="tiny")
        return method

    whole = train("whole")
    with pytest.raises(Stopped):
        train("parts", stop=3)
    resumed = train("parts")
    for name, expected in whole.module.state_dict().items():
        assert torch.equal(resumed.module.state_dict()[name], expected), name
