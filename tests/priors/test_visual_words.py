"""Words: found where the pixels are, the same every time, and shared by degrees that add up to 1."""

from __future__ import annotations

import numpy as np

from pipeline.priors.visual_words import learn_words, soft_words

CENTRES = np.array([[0.1, 0.2, 0.3], [0.9, 0.5, 0.1], [0.5, 0.9, 0.8]], dtype=np.float32)


def three_colors() -> np.ndarray:
    rng = np.random.default_rng(0)
    pixels = CENTRES[rng.integers(0, 3, (40, 50))] + rng.normal(0, 0.02, (40, 50, 3))
    return np.ascontiguousarray(np.moveaxis(pixels, 2, 0), dtype=np.float32)


def test_words_are_the_colours_of_an_image() -> None:
    words = learn_words(three_colors(), 3)
    nearest = np.linalg.norm(words[:, None] - CENTRES, axis=2)
    assert sorted(nearest.argmin(1).tolist()) == [0, 1, 2]
    assert nearest.min(1).max() < 0.02
    np.testing.assert_array_equal(words, learn_words(three_colors(), 3))


def test_degrees_add_up_to_one_and_favour_the_nearest_word() -> None:
    maps = three_colors()
    degrees = soft_words(maps, CENTRES, 0.01)
    assert degrees.shape == (3, 40, 50)
    np.testing.assert_allclose(degrees.sum(0), 1, atol=1e-5)
    nearest = np.linalg.norm(maps[:, None] - CENTRES.T[..., None, None], axis=0).argmin(0)
    np.testing.assert_array_equal(degrees.argmax(0), nearest)


def test_a_flat_image_and_one_of_few_pixels_have_words() -> None:
    for shape in ((3, 8, 8), (3, 1, 2)):
        words = learn_words(np.full(shape, 0.5, np.float32), 6)
        np.testing.assert_allclose(words, 0.5, atol=1e-6)
        assert np.isfinite(soft_words(np.full(shape, 0.5, np.float32), words, 0.01)).all()
