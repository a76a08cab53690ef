"""Spectral contours: the border that separates an image's halves outlasts one that ends halfway."""

from __future__ import annotations

import numpy as np

from pipeline.priors.spectral import spectral_contours


def test_a_border_through_the_image_counts_more_than_one_that_ends() -> None:
    strength = np.full((96, 128), 0.02, np.float32)
    strength[:, 63:65] = 0.6  # separates left from right
    strength[30:33, 80:100] = 0.6  # separates nothing
    found = spectral_contours(strength)
    assert found.shape == (8, 96, 128)
    assert 0 <= found.min() <= found.max() == 1
    across = found[0, 20:76, 60:68].max(1).mean()
    assert across > 0.8
    assert found[:, 28:36, 85:95].max() < 0.5 * across
    np.testing.assert_array_equal(found, spectral_contours(strength))


def test_images_of_a_few_pixels_have_none() -> None:
    assert not spectral_contours(np.ones((7, 9), np.float32)).any()
    assert spectral_contours(np.full((200, 3), 0.1, np.float32)).shape == (8, 200, 3)
