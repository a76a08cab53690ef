"""The lattice's kernel against the Gaussian that it approximates, and its own structure."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from pipeline.errors import UserError
from pipeline.priors.crf.lattice import LatticeKernel
from pipeline.priors.crf.simplices import corners


def cloud(dimensions: int, points: int, spread: float, seed: int) -> Tensor:
    return spread * torch.randn(dimensions, points, generator=torch.Generator().manual_seed(seed))


def exact(features: Tensor) -> Tensor:
    kernel = torch.exp(-0.5 * torch.cdist(features.t(), features.t()).square())
    scale = kernel.sum(1).rsqrt()
    return scale[:, None] * kernel * scale


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 40), st.floats(0.01, 40), st.integers(0, 999))
def test_corners_surround_their_point(dimensions: int, points: int, spread: float, seed: int) -> None:
    found = corners(cloud(dimensions, points, spread, seed))
    assert found.weights.min() >= -1e-5
    torch.testing.assert_close(found.weights.sum(1), torch.ones(points))
    assert found.codes.min() >= 0
    assert int(found.codes.max()).bit_length() <= found.bits
    assert all(len(set(column)) == dimensions + 1 for column in found.codes.t().tolist())
    assert sum(found.steps) == 0  # along all directions in turn, one comes back


def test_equal_points_have_equal_corners_within_a_group_and_none_between_groups() -> None:
    features = cloud(5, 7, 3.0, 0).repeat(1, 2)
    together, apart = corners(features).codes, corners(features, groups=2).codes
    torch.testing.assert_close(together[:, :7], together[:, 7:])
    assert not set(apart[:, :7].flatten().tolist()) & set(apart[:, 7:].flatten().tolist())


def test_a_path_through_the_lattice_is_continuous() -> None:
    """From one simplex to the next one, a corner comes in with the weight 0."""
    line = torch.linspace(-3, 3, 4001)[None] * torch.tensor([[1.0], [0.7], [-0.4]])
    found = corners(line)
    shares = torch.zeros(4001, int(found.codes.max()) + 1).scatter_(1, found.codes.t(), found.weights)
    assert (shares[1:] - shares[:-1]).abs().max() < 0.01


@pytest.mark.parametrize("dimensions", [2, 5])
def test_the_kernel_is_nearly_a_gaussian(dimensions: int) -> None:
    features = cloud(dimensions, 1500, 1.5, 1)
    values = torch.rand(1500, 3, generator=torch.Generator().manual_seed(2))
    wanted = exact(features) @ values
    found = LatticeKernel(features, 2.0)(values) / 2
    assert (found - wanted).norm() / wanted.norm() < 0.12


def test_points_far_apart_are_left_as_they_are() -> None:
    features = 50 * torch.arange(6.0).repeat(5, 1)
    values = torch.rand(6, 4, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(LatticeKernel(features, 1.0)(values), values)


def test_columns_are_filtered_by_themselves() -> None:
    kernel = LatticeKernel(cloud(3, 60, 1.0, 4), 1.0)
    values = torch.rand(60, 5, generator=torch.Generator().manual_seed(5))
    single = torch.cat([kernel(values[:, [column]]) for column in range(5)], 1)
    torch.testing.assert_close(kernel(values), single)


def test_a_spread_that_cannot_be_numbered_is_refused() -> None:
    with pytest.raises(UserError, match=r"params.yaml: dense_crf: has standard deviations"):
        LatticeKernel(cloud(5, 10, 1e6, 6), 1.0)
