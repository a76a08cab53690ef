"""IRN's loss on pairs: by hand, and its gradient."""

from __future__ import annotations

import math

import pytest
import torch

from pipeline.data.label_codes import UNLABELLED, VOID
from pipeline.methods.cam.pair_losses import PairLosses, pair_losses

E = 1e-5


def test_a_row_of_three_by_hand() -> None:
    """Radius 1.5: neighbours only.  Pairs: background-background over 0.2, background-class over 0.6."""
    boundaries = torch.tensor([[[0.1, 0.2, 0.6]]], dtype=torch.float64)
    losses = pair_losses(boundaries, torch.tensor([[[0, 0, 3]]]), 1.5)
    assert losses.background.item() == pytest.approx(-math.log(0.8), rel=1e-4)
    assert losses.different.item() == pytest.approx(-math.log(0.6), rel=1e-4)
    assert losses.foreground.item() == 0
    expected = (-math.log(0.8) / 2 - math.log(0.6)) / 2
    assert losses.total().item() == pytest.approx(expected, rel=1e-4)


def test_longer_pairs_see_the_greatest_boundary_between_them() -> None:
    boundaries = torch.tensor([[[0.1, 0.9, 0.3]]], dtype=torch.float64)
    losses = pair_losses(boundaries, torch.tensor([[[2, UNLABELLED, 2]]]), 3)
    assert losses.foreground.item() == pytest.approx(-math.log(0.1), rel=1e-3)
    assert (losses.background.item(), losses.different.item()) == (0, 0)


def test_two_classes_are_different_too() -> None:
    losses = pair_losses(torch.full((1, 1, 2), 0.25), torch.tensor([[[1, 2]]]), 1.5)
    assert losses.different.item() == pytest.approx(-math.log(0.25), rel=1e-3)


def test_unknown_ends_do_not_count() -> None:
    labels = torch.tensor([[[0, UNLABELLED, 1, VOID, 0]]])
    losses = pair_losses(torch.full((1, 1, 5), 0.5), labels, 1.5)
    assert [loss.item() for loss in losses] == [0, 0, 0]


def test_a_perfect_boundary_costs_nothing_and_a_missing_one_a_lot() -> None:
    labels = torch.zeros(1, 6, 9, dtype=torch.int64)
    labels[:, :, 4] = UNLABELLED
    labels[:, :, 5:] = 1
    perfect = torch.zeros(1, 6, 9)
    perfect[:, :, 4] = 1
    assert pair_losses(perfect, labels, 4).total().item() == pytest.approx(0, abs=1e-3)
    assert pair_losses(torch.zeros(1, 6, 9), labels, 4).different.item() == pytest.approx(
        -math.log(E), rel=1e-3
    )


def test_a_batch_pools_its_pairs() -> None:
    draw = torch.Generator().manual_seed(0)
    boundaries = torch.rand(2, 4, 4, generator=draw, dtype=torch.float64)
    labels = torch.zeros(2, 4, 4, dtype=torch.int64)
    both = pair_losses(boundaries, labels, 3).background
    singles = [pair_losses(boundaries[i : i + 1], labels[i : i + 1], 3).background for i in range(2)]
    torch.testing.assert_close(both, (singles[0] + singles[1]) / 2)


def test_gradient() -> None:
    draw = torch.Generator().manual_seed(1)
    boundaries = torch.rand(1, 4, 5, generator=draw, dtype=torch.float64).requires_grad_()
    labels = torch.randint(0, 3, (1, 4, 5), generator=draw)

    def total(values: torch.Tensor) -> torch.Tensor:
        losses: PairLosses = pair_losses(values, labels, 3)
        return losses.total()

    assert torch.autograd.gradcheck(total, boundaries)
