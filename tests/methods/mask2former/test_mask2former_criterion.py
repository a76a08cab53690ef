"""Mask2Former's losses: the reference's values, the library's bits, gradients, batches without objects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.methods.mask2former.criterion import mask2former_losses
from pipeline.params import QueryLosses
from tests.mask2former_batches import Batch, as_batch, drawn, library_losses
from tests.mask2former_settings import PUBLISHED_LOSSES

Load = Callable[[str], dict[str, Tensor]]


def settings(**changes: float) -> QueryLosses:
    return QueryLosses.model_validate({**PUBLISHED_LOSSES.model_dump(), "points": 64, **changes})


def seeded(batch: Batch, losses: QueryLosses, seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return mask2former_losses(*batch, losses)


def total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


@pytest.mark.parametrize(
    ("file", "prefix", "names"),
    [("mask2former/criterion", "", "names"), ("guided_distillation/loss_weighting", "raw_", "raw_names")],
)
def test_the_losses_of_the_reference(load: Load, vectors: Path, file: str, prefix: str, names: str) -> None:
    """At the weights 2, 5, 5, of which the vectors are without."""
    arrays = load(file)
    losses = seeded(as_batch(arrays), settings(points=int(arrays["num_points"])), int(arrays["torch_seed"]))
    weights = {"ce": 2.0, "mask": 5.0, "dice": 5.0}
    with np.load(vectors / f"{file}.npz", allow_pickle=False) as stored:
        expected = dict(zip(stored[names].tolist(), stored[f"{prefix}values"].tolist(), strict=True))
    assert losses.keys() == expected.keys()
    for name, loss in losses.items():
        assert float(loss) == pytest.approx(weights[name.split("_")[1]] * expected[name], abs=1e-5)


@pytest.mark.parametrize("counts", [[3, 5, 0], [0, 0], [1], [9, 2], [4, 7, 2, 8]])
@pytest.mark.parametrize("points", [50, 784])
def test_the_bits_of_the_library(counts: list[int], points: int) -> None:
    """Matching, draws and every sum: also for images with more objects than the seven queries."""
    batch, some = drawn(counts), settings(points=points)
    losses = seeded(batch, some)
    torch.manual_seed(0)
    expected = library_losses(batch, some)
    assert losses.keys() == expected.keys()
    assert [name for name in losses if not torch.equal(losses[name], expected[name])] == []
    after = torch.rand(1)
    torch.manual_seed(0)
    mask2former_losses(*batch, some)
    assert torch.equal(torch.rand(1), after)  # nothing more is drawn


def test_the_gradients_of_the_library() -> None:
    slopes = []
    for losses in (seeded, lambda batch, some: (torch.manual_seed(0), library_losses(batch, some))[1]):
        predictions, targets = drawn([3, 9, 0])
        for part in predictions:
            part.mask_logits.requires_grad_()
            part.class_logits.requires_grad_()
        total(losses((predictions, targets), settings())).backward()  # type: ignore[no-untyped-call]
        slopes.append([values.grad for part in predictions for values in part])
    torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-8)
