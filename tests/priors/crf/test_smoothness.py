"""The spatial kernel: exact where it is a convolution, near to it where it is a lattice."""

from __future__ import annotations

import pytest
import torch

from pipeline.priors.crf.smoothness import places, smoothness_kernel

CPU = torch.device("cpu")


@pytest.mark.parametrize(("std", "largest"), [(0.7, 1e-3), (1.5, 1e-3), (2.5, 0.1), (30.0, 0.1)])
def test_the_kernel_is_the_normalised_gaussian(std: float, largest: float) -> None:
    values = torch.rand(12 * 17, 3, generator=torch.Generator().manual_seed(0))
    where = places(12, 17, 1, CPU).t() / std
    kernel = torch.exp(-0.5 * torch.cdist(where, where).square())
    scale = kernel.sum(1).rsqrt()
    wanted = 2 * (scale[:, None] * kernel * scale) @ values
    found = smoothness_kernel(1, 12, 17, std, 2.0, CPU)(values)
    assert (found - wanted).norm() < largest * wanted.norm()


@pytest.mark.parametrize("std", [1.0, 3.0])
def test_images_do_not_blur_into_each_other(std: float) -> None:
    values = torch.zeros(2 * 6 * 5, 1)
    values[: 6 * 5] = 1
    found = smoothness_kernel(2, 6, 5, std, 1.0, CPU)(values)
    assert found[: 6 * 5].min() > 0
    assert not found[6 * 5 :].any()


def test_x_varies_within_rows() -> None:
    assert places(2, 3, 2, CPU).tolist() == [[0, 1, 2] * 4, [0, 0, 0, 1, 1, 1] * 2]
