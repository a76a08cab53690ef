"""The clustering score: hand-worked values, its range, and crops that do not count."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.methods.mal.clustering import clustering_score, foreground_cells


def naive(tokens: Tensor, foreground: Tensor) -> float:
    """Eq. 6 for one crop, token by token."""
    tokens, foreground = tokens.flatten(1).T, foreground.flatten()
    total = 0.0
    for token, side in zip(tokens, foreground, strict=True):
        centre = tokens[foreground == side].mean(dim=0)
        total += float((token / token.norm() - centre / centre.norm()).square().sum())
    return total / len(tokens)


def halves(side: int = 4) -> Tensor:
    return (torch.arange(side)[:, None] < side // 2).expand(side, side)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_a_batch_is_eq_6_crop_by_crop(seed: int, batch: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(batch, 5, 4, 4, generator=generator)
    foreground = torch.rand(batch, 4, 4, generator=generator) < 0.4
    foreground[:, 0, 0], foreground[:, 0, 1] = True, False
    scores = clustering_score(tokens, foreground)
    assert scores.tolist() == pytest.approx(
        [naive(*pair) for pair in zip(tokens, foreground, strict=True)], abs=1e-5
    )
    assert ((scores >= 0) & (scores <= 4)).all()


def test_identical_tokens_per_side_give_0() -> None:
    tokens = torch.where(
        halves()[None], torch.tensor([3.0, -1])[:, None, None], torch.tensor([0.2, 5])[:, None, None]
    )
    assert clustering_score(tokens[None], halves()[None]).item() == pytest.approx(0, abs=1e-12)


def test_it_is_two_minus_twice_the_mean_cosine() -> None:
    """Directions at right angles, equally many: each is 45 degrees from the centre of its side."""
    tokens = torch.zeros(1, 2, 4, 4)
    tokens[:, 0, :, :2] = 1
    tokens[:, 1, :, 2:] = 1
    assert clustering_score(tokens, halves()[None]).item() == pytest.approx(2 - 2**0.5, abs=1e-6)


def test_the_length_of_a_token_matters_to_its_centre_alone() -> None:
    tokens = torch.ones(1, 2, 4, 4)
    tokens[0, :, 0, 0] = torch.tensor([1.0, 0.0])
    longer = tokens.clone()
    longer[0, :, 0, 0] *= 1e6  # the centre of its side is its direction now: 0 for it, 45 degrees for 7
    score = clustering_score(longer, halves()[None]).item()
    assert score == pytest.approx(7 / 16 * (2 - 2**0.5), abs=1e-4)
    assert clustering_score(tokens * 10, halves()[None]).item() == pytest.approx(
        clustering_score(tokens, halves()[None]).item(), abs=1e-6
    )


def test_a_crop_with_an_empty_side_does_not_count() -> None:
    foreground = torch.stack((torch.zeros(4, 4), torch.ones(4, 4), halves())).bool()
    tokens = torch.rand(3, 2, 4, 4)
    scores = clustering_score(tokens, foreground)
    assert scores.isnan().tolist() == [True, True, False]
    torch.testing.assert_close(scores.nanmean(), clustering_score(tokens[2:], foreground[2:])[0])


def test_half_a_cell_is_foreground() -> None:
    masks = torch.zeros(1, 32, 32, dtype=torch.uint8)
    masks[0, :8, :16] = 1  # 128 of 256 pixels
    masks[0, 16:24, :16] = 1
    masks[0, 16, 0] = 0  # 127
    assert foreground_cells(masks, 2).tolist() == [[[True, False], [False, False]]]


def test_cells_must_divide_the_mask() -> None:
    with pytest.raises(ValueError, match="do not divide"):
        foreground_cells(torch.zeros(1, 33, 33), 2)
