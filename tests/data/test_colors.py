"""Colours of training images: each change by its chance, within its reach, and from its generator alone."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pipeline.data.colors import distort, disturb
from pipeline.params import Disturbance

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
STRONG = {  # Guided Distillation's, as published
    "jitter": (0.4, 0.4, 0.4, 0.1),
    "jitter_probability": 0.8,
    "grey_probability": 0.2,
    "blur_probability": 0.5,
    "blur_radius": (0.1, 2.0),
}
NEVER = dict.fromkeys(("jitter_probability", "grey_probability", "blur_probability"), 0.0)


def disturbed(seed: int = 0, image: NDArray[np.uint8] = IMAGE, **changes: object) -> NDArray[np.uint8]:
    settings = Disturbance.model_validate({**STRONG, **changes})
    return disturb(image, settings, np.random.default_rng(seed))


def share(**changes: object) -> float:
    """Of 300 draws, how many differ from the image."""
    return float(np.mean([not np.array_equal(disturbed(seed, **changes), IMAGE) for seed in range(300)]))


@pytest.mark.parametrize(
    ("key", "expected"), [("jitter_probability", 0.8), ("grey_probability", 0.2), ("blur_probability", 0.5)]
)
def test_each_change_has_its_chance(key: str, expected: float) -> None:
    assert share(**NEVER) == 0
    assert share(**NEVER | {key: expected}) == pytest.approx(expected, abs=0.08)


def test_a_generator_decides_all() -> None:
    assert np.array_equal(disturbed(5), disturbed(5))
    draws = [np.random.default_rng(5) for _ in range(2)]
    disturb(IMAGE, Disturbance.model_validate(STRONG), draws[0])
    disturb(IMAGE, Disturbance.model_validate(STRONG | NEVER), draws[1])
    assert draws[0].random() == draws[1].random()


def test_grey_has_equal_channels_and_the_luma_of_the_image() -> None:
    grey = disturbed(**NEVER | {"grey_probability": 1.0}).astype(float)
    assert np.ptp(grey, axis=2).max() == 0
    assert np.abs(grey[..., 0] - IMAGE @ [0.299, 0.587, 0.114]).max() <= 1


def test_blur_is_gaussian_with_a_radius_from_its_range() -> None:
    fixed = disturbed(**NEVER | {"blur_probability": 1.0, "blur_radius": (1.3, 1.3)})
    expected = np.asarray(Image.fromarray(IMAGE).filter(ImageFilter.GaussianBlur(1.3)))
    assert np.array_equal(fixed, expected)
    drawn = [disturbed(seed, **NEVER | {"blur_probability": 1.0}).std() for seed in range(50)]
    assert min(drawn) < 0.5 * IMAGE.std() < 0.9 * IMAGE.std() < max(drawn)


def test_jitter_of_brightness_stays_within_its_reach() -> None:
    flat = np.full((4, 4, 3), 100, np.uint8)
    only = NEVER | {"jitter_probability": 1.0, "jitter": (0.4, 0.0, 0.0, 0.0)}
    drawn = [disturbed(seed, flat, **only)[0, 0, 0] for seed in range(200)]
    assert 60 <= min(drawn) < 65
    assert 135 < max(drawn) <= 140


def distorted(image: NDArray[np.uint8], draws: int = 3000) -> NDArray[np.uint8]:
    """(draws, 3): the distorted colour of an image of one colour."""
    return np.stack([distort(image, np.random.default_rng(seed))[0, 0] for seed in range(draws)])


def test_grey_shows_the_reach_of_brightness_and_contrast() -> None:
    """A grey of 100 has no hue and no saturation: (100 + 32) * 1.5 at most, (100 - 32) / 2 at least."""
    values = distorted(np.full((1, 1, 3), 100, np.uint8))
    assert np.ptp(values, axis=1).max() == 0
    assert 34 <= values.min() < 45
    assert 180 < values.max() <= 198
    assert np.mean(values[:, 0] == 100) == pytest.approx(0.25, abs=0.03)


def test_colors_show_the_reach_of_saturation_and_hue() -> None:
    colors = distorted(np.full((1, 1, 3), (150, 90, 90), np.uint8)) / 255
    hues, saturations, _ = np.array([colorsys.rgb_to_hsv(*color) for color in colors]).T
    degrees = (hues * 360 + 180) % 360 - 180
    assert 30 < degrees.max() <= 39
    assert -39 <= degrees.min() < -30
    assert np.mean(np.abs(degrees) < 2) == pytest.approx(0.53, abs=0.05)
    assert 0.6 * 0.5 * 0.3 < saturations.min() < 0.3
    assert saturations.max() > 0.5


def test_distortion_draws_the_same_amount_of_numbers() -> None:
    after = set()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        distort(IMAGE, rng)
        reference = np.random.default_rng(seed)
        reference.random(9)
        after.add(rng.random() == reference.random())
    assert after == {True}
