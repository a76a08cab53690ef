"""The mean field in PyTorch: symmetries, images side by side, and classes that no pixel has."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from pipeline.priors.crf import mean_field
from pipeline.priors.crf.mean_field import infer, torch_marginals
from tests.priors.crf.settings import CRFS, SEAM, SPML, varied


def batch(count: int, classes: int, height: int, width: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, height, width, 3), generator=draw, dtype=torch.uint8)
    return images, torch.randn(count, classes, height, width, generator=draw).mul(2).softmax(1)


@pytest.mark.parametrize("name", CRFS)
@pytest.mark.parametrize("classes", [2, 5])
def test_images_side_by_side_do_not_see_each_other(name: str, classes: int) -> None:
    images, probabilities = batch(3, classes, 11, 14, 0)
    images[1] = images[0]  # the same pixels, so the same places in a lattice, were it shared
    together = infer(images, probabilities, CRFS[name])
    for index in range(3):
        alone = infer(images[index : index + 1], probabilities[index : index + 1], CRFS[name])
        torch.testing.assert_close(together[index : index + 1], alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_without_kernels_the_marginals_are_the_probabilities(classes: int) -> None:
    images, probabilities = batch(1, classes, 4, 5, 2)
    alone = varied(SPML, iterations=5, appearance_weight=0.0, smoothness_weight=0.0)
    torch.testing.assert_close(infer(images, probabilities, alone), probabilities, rtol=1e-4, atol=1e-6)


def test_large_batches_are_cut_into_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    images, probabilities = batch(3, 3, 8, 9, 1)
    sizes = []

    def recorded(*arguments: torch.Tensor) -> torch.Tensor:
        sizes.append(len(arguments[0]))
        return arguments[1]

    monkeypatch.setattr(mean_field, "infer", recorded)
    torch.testing.assert_close(torch_marginals(images, probabilities, SPML), probabilities)
    assert sizes == [1, 1, 1]


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(sorted(CRFS)),
    st.integers(1, 9),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(0, 99),
)
def test_marginals_are_probabilities(name: str, classes: int, height: int, width: int, seed: int) -> None:
    found = infer(*batch(1, classes, height, width, seed), CRFS[name])
    assert found.min() >= 0
    torch.testing.assert_close(found.sum(1), torch.ones(1, height, width))


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(sorted(CRFS)), st.integers(2, 12), st.integers(2, 12), st.integers(0, 99))
def test_transposed_classes_give_transposed_marginals(name: str, height: int, width: int, seed: int) -> None:
    images, probabilities = batch(1, 4, height, width, seed)
    order = [2, 0, 3, 1]
    found = infer(images, probabilities[:, order], CRFS[name])
    torch.testing.assert_close(
        found, infer(images, probabilities, CRFS[name])[:, order], rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("std", [1.0, 3.0], ids=["convolution", "lattice"])
def test_a_mirrored_image_gives_mirrored_marginals(std: float) -> None:
    """To what the lattice, which does not lie symmetrically, leaves of it; the convolution is exact."""
    images, probabilities = batch(1, 3, 20, 24, 2)
    smooth = varied(SEAM, appearance_weight=0.0, smoothness_std=std)
    found = infer(images.flip(2), probabilities.flip(3), smooth)
    apart = (found - infer(images, probabilities, smooth).flip(3)).abs()
    assert apart.max() < (1e-4 if std == 1.0 else 0.2)
    assert apart.mean() < (1e-5 if std == 1.0 else 0.02)


def test_one_column_stands_for_all_classes_that_no_pixel_has() -> None:
    images, some = batch(1, 3, 10, 13, 3)
    probabilities = torch.zeros(1, 9, 10, 13)
    probabilities[:, [1, 4, 6]] = some
    faint = probabilities.clone()
    # Just above the least probability at one pixel: now every class has a column of its own.
    faint[:, :, 0, 0] = faint[:, :, 0, 0].clamp_min(1.0001e-5)
    found, wanted = (infer(images, scores, SPML) for scores in (probabilities, faint))
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-6)
    assert torch.equal(found[:, 0], found[:, 8])


def test_one_column_is_used_only_where_there_are_several() -> None:
    images, probabilities = batch(1, 4, 10, 13, 4)
    probabilities[:, 2] = 0
    found = infer(images, probabilities, SPML)
    assert np.asarray(found[:, 2]).max() < 1e-3
    torch.testing.assert_close(found.sum(1), torch.ones(1, 10, 13))
