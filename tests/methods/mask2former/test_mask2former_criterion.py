"""Mask2Former's losses: the reference's values, the library's bits, gradients, batches without objects."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.methods.mask2former.criterion import (
    MaskTargets,
    classification_loss,
    mask2former_losses,
    point_losses,
)
from pipeline.models.mask2former.predictions import QueryPredictions
from pipeline.params import QueryLosses
from tests.mask2former_batches import Batch, as_batch, drawn, library_losses
from tests.mask2former_settings import PUBLISHED_LOSSES

Load = Callable[[str], dict[str, Tensor]]
SCRIPT = Path(__file__).with_name("two_processes.py")


def settings(**changes: float) -> QueryLosses:
    return QueryLosses.model_validate({**PUBLISHED_LOSSES.model_dump(), "points": 64, **changes})


def seeded(batch: Batch, losses: QueryLosses, seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return mask2former_losses(*batch, losses)


def total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def learning(batch: Batch) -> Batch:
    """The batch with predictions that keep their gradients."""
    for part in (values for prediction in batch[0] for values in prediction):
        part.requires_grad_()
    return batch


# --- parity -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "prefix"), [("mask2former/criterion", ""), ("guided_distillation/loss_weighting", "raw_")]
)
def test_the_losses_of_the_reference(load: Load, vectors: Path, file: str, prefix: str) -> None:
    """At the weights 2, 5, 5, of which the vectors are without."""
    arrays = load(file)
    losses = seeded(as_batch(arrays), settings(points=int(arrays["num_points"])), int(arrays["torch_seed"]))
    weights = {"ce": 2.0, "mask": 5.0, "dice": 5.0}
    with np.load(vectors / f"{file}.npz", allow_pickle=False) as stored:
        names, values = stored[f"{prefix}names"].tolist(), stored[f"{prefix}values"].tolist()
    assert sorted(losses) == sorted(names)
    for name, value in zip(names, values, strict=True):
        assert float(losses[name]) == pytest.approx(weights[name.split("_")[1]] * value, abs=1e-5)


def test_losses_at_points_are_those_of_the_reference(load: Load) -> None:
    arrays = load("mask2former/point_losses")
    for name, labels in (("hard", arrays["labels"]), ("soft", arrays["labels_soft"])):
        cross_entropy, dice = point_losses(arrays["logits"], labels)
        for ours, theirs in ((cross_entropy, f"sigmoid_ce_{name}"), (dice, f"dice_{name}")):
            torch.testing.assert_close(
                ours.sum() / float(arrays["num_masks"]), arrays[theirs], rtol=0, atol=1e-6
            )


@pytest.mark.parametrize("counts", [[3, 5, 0], [0, 0], [1], [9, 2], [4, 7, 2, 8]])
@pytest.mark.parametrize("points", [50, 784])
def test_the_bits_of_the_library(counts: list[int], points: int) -> None:
    """Matching, draws and every sum: also for images with more objects than the seven queries."""
    batch, some = drawn(counts), settings(points=points)
    losses = seeded(batch, some)
    drawn_next = torch.rand(1)
    torch.manual_seed(0)
    expected = library_losses(batch, some)
    assert losses.keys() == expected.keys()
    assert [name for name in losses if not torch.equal(losses[name], expected[name])] == []
    assert torch.equal(torch.rand(1), drawn_next)


def test_the_gradients_of_the_library() -> None:
    slopes = []
    for losses in (seeded, lambda batch, some: (torch.manual_seed(0), library_losses(batch, some))[1]):
        batch = learning(drawn([3, 9, 0]))
        total(losses(batch, settings())).backward()  # type: ignore[no-untyped-call]
        slopes.append([values.grad for part in batch[0] for values in part])
    torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-8)


# --- values and gradients ---------------------------------------------------------------------------------


def test_losses_at_points_worked_by_hand() -> None:
    cross_entropy, dice = point_losses(
        torch.tensor([[0.0, 0.0, 50.0, -50.0]]), torch.tensor([[1.0, 0, 1, 0]])
    )
    assert float(cross_entropy) == pytest.approx(np.log(2) / 2)
    assert float(dice) == pytest.approx(1 - (2 * 1.5 + 1) / (2 + 2 + 1))


def test_queries_without_an_object_weigh_little() -> None:
    """Cross-entropies 1 and 2 with weights 1 and 0.1."""
    logits = torch.tensor([[[np.log(np.expm1(1)), 0.0], [0.0, -np.log(np.expm1(2))]]])
    logits[0, 0] = -logits[0, 0]  # the class costs log(1 + exp(x)) with x = log(exp(1) - 1)
    loss = classification_loss(logits, torch.tensor([[0, 1]]), 0.1)
    assert float(loss) == pytest.approx((1 + 0.1 * 2) / 1.1)


def test_gradients_are_those_of_finite_differences() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 20, generator=draw, dtype=torch.float64, requires_grad=True)
    targets = torch.rand(3, 20, generator=draw, dtype=torch.float64)
    torch.autograd.gradcheck(lambda values: point_losses(values, targets), logits)
    classes = torch.randint(3, (2, 5), generator=draw)
    scores = torch.randn(2, 5, 3, generator=draw, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda values: classification_loss(values, classes, 0.1), scores)


def test_the_gradient_of_the_whole_is_that_of_finite_differences() -> None:
    """Along a random direction, pairs and points being the same on so short a way."""
    predictions, targets = drawn([3, 0, 2], layers=2)
    draw = torch.Generator().manual_seed(1)
    exact = [QueryPredictions(*(values.double() for values in part)) for part in predictions]
    ways = [[torch.randn(values.shape, generator=draw).double() for values in part] for part in exact]

    def at(place: float) -> Tensor:
        moved = [
            QueryPredictions(*(values + place * way for values, way in zip(part, way_of, strict=True)))
            for part, way_of in zip(exact, ways, strict=True)
        ]
        return total(seeded((moved, targets), settings()))

    expected = (at(1e-6) - at(-1e-6)) / 2e-6
    total(seeded(learning((exact, targets)), settings())).backward()  # type: ignore[no-untyped-call]
    slope = sum(
        (values.grad * way).sum()  # type: ignore[operator]
        for part, way_of in zip(exact, ways, strict=True)
        for values, way in zip(part, way_of, strict=True)
    )
    assert float(slope) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_a_perfect_prediction_costs_nothing() -> None:
    masks = torch.zeros(2, 32, 32, dtype=torch.bool)
    masks[0, 4:20, 4:20] = masks[1, 10:30, 22:30] = True
    logits = torch.full((1, 4, 32, 32), -60.0)
    logits[0, [3, 1]] = torch.where(masks, 60.0, -60.0)
    classes = torch.full((1, 4, 4), -30.0)
    classes[0, range(4), [3, 2, 3, 0]] = 30.0
    losses = seeded(
        ([QueryPredictions(classes, logits)], [MaskTargets(torch.tensor([0, 2]), masks)]),
        settings(importance=0.0, points=2000),
    )
    assert float(losses["loss_ce"]) < 1e-6
    # Between the centres of two cells the target is soft and the prediction is not: edges cost a little.
    assert float(losses["loss_dice"]) < 5 * 0.05


# --- batches and numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [[0, 0], [0, 3]])
def test_images_without_objects_teach_that_there_is_none(counts: list[int]) -> None:
    batch = learning(drawn(counts))
    losses = seeded(batch, settings())
    total(losses).backward()  # type: ignore[no-untyped-call]
    for classes, masks in batch[0]:
        assert classes.grad is not None
        assert masks.grad is not None  # several processes could not average gradients otherwise
        assert (classes.grad[0, :, -1] < 0).all()
        assert not masks.grad[0].any()
    if not any(counts):
        assert all(float(loss.detach()) == 0 for name, loss in losses.items() if "ce" not in name.split("_"))


def test_only_matched_queries_learn_a_mask() -> None:
    batch = learning(drawn([3, 1]))
    total(seeded(batch, settings())).backward()  # type: ignore[no-untyped-call]
    for part in batch[0]:
        assert part.mask_logits.grad is not None
        learns = part.mask_logits.grad.flatten(2).any(dim=2)
        assert learns.sum(dim=1).tolist() == [3, 1]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("which", [0, 1])
def test_a_cost_that_is_not_finite_is_no_silent_success(value: float, which: int) -> None:
    """In whatever query, matched or not, of whatever layer: the engine stops and names the images."""
    for layer, query in ((0, 0), (1, 3), (2, 6)):
        batch = drawn([1, 2])
        batch[0][layer][which][1, query] = value
        assert all(torch.isnan(loss) for loss in seeded(batch, settings()).values())


def test_losses_are_of_full_precision_under_autocast() -> None:
    predictions, targets = drawn([2, 3])
    half = [QueryPredictions(*(values.bfloat16() for values in part)) for part in predictions]
    full = [QueryPredictions(*(values.float() for values in part)) for part in half]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = seeded((half, targets), settings())
    for name, expected in seeded((full, targets), settings()).items():
        assert losses[name].dtype == torch.float32
        assert torch.equal(losses[name], expected), name


@pytest.mark.slow
def test_two_processes_divide_by_the_mean_number_of_objects(root: Path, tmp_path: Path) -> None:
    """Three objects in one process and one in the other: both divide by two, and not by two again."""
    environment = os.environ | {"PYTHONPATH": str(root), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [sys.executable, *launcher, str(SCRIPT), str(tmp_path)]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    for index, count in enumerate((3, 1)):
        spread = json.loads((tmp_path / f"{index}.json").read_text())
        for name, alone in seeded(drawn([count]), settings()).items():
            factor = 1 if name.startswith("loss_ce") else count / 2
            assert spread[name] == pytest.approx(factor * float(alone), rel=1e-6)
