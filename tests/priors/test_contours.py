"""Contour strength: what the built-in detector sees, and what a user's file must be."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline import params
from pipeline.errors import UserError
from pipeline.priors.contours import built_in_contours, gradient_contours, read_contours
from tests.data.png_header import png_header


def settings(scales: int = 3, spectral: float = 0.0) -> params.BuiltInContours:
    return params.BuiltInContours.model_validate(
        {"kind": "built_in", "words": 12, "scales": scales, "spectral": spectral}
    )


def two_halves(kind: str) -> np.ndarray:
    """(64, 96, 3), a border at column 48 between different brightness, hue or texture, with faint noise."""
    rng = np.random.default_rng(0)
    image = np.full((64, 96, 3), 120.0)
    if kind == "brightness":
        image[:, 48:] += 40
    if kind == "color":
        image[:, 48:] += (40, -20, -10)
    if kind == "texture":
        image[:, 48:] += np.where((np.arange(96)[48:] // 2) % 2, 14, -14)[None, :, None]
        image[:, :48] += np.where((np.arange(64) // 2) % 2, 14, -14)[:, None, None]
    return np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", ["brightness", "color", "texture"])
@pytest.mark.parametrize("scales", [1, 2, 3])
def test_sees_borders_of_brightness_color_and_texture(kind: str, scales: int) -> None:
    found = built_in_contours(two_halves(kind), settings(scales))
    assert found.oriented is not None
    assert found.oriented.shape == (8, 64, 96)
    assert 0 <= found.strength.min() <= found.strength.max() <= 1
    np.testing.assert_array_equal(found.strength, found.oriented.max(0))
    border = found.strength[10:-10, 45:52].max(1)
    inside = found.strength[10:-10, 12:36]
    assert np.median(border) > 2 * np.median(inside)
    assert (found.oriented[:, 10:-10, 45:52].max(2).argmax(0) == 0).mean() > 0.8


@pytest.mark.parametrize("kind", ["brightness", "color"])
def test_a_gradient_follows_a_border_to_the_pixel(kind: str) -> None:
    settings = params.GradientContours(kind="gradient", sigma=0.8)
    found = gradient_contours(two_halves(kind), settings)
    assert found.strength.argmax(1).tolist() == pytest.approx([47.5] * 64, abs=1)
    assert found.oriented is not None
    assert (found.oriented[:, :, 47].argmax(0) == 0).mean() > 0.7
    assert 0 <= found.strength.min() <= found.strength.max() <= 1
    flat = gradient_contours(np.full((9, 9, 3), 77, np.uint8), settings)
    assert flat.strength.max() < 1e-3


def test_the_same_image_gives_the_same_map_and_a_spectral_step_changes_it() -> None:
    image = two_halves("color")
    plain, again = built_in_contours(image, settings()), built_in_contours(image, settings())
    np.testing.assert_array_equal(plain.strength, again.strength)
    spectral = built_in_contours(image, settings(spectral=0.3))
    assert np.abs(spectral.strength - plain.strength).max() > 0.05


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (1, 40), (23, 31)])
def test_small_and_odd_images_have_contours(size: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 255, (*size, 3), dtype=np.uint8)
    found = built_in_contours(image, settings(spectral=0.2))
    assert found.strength.shape == size
    assert np.isfinite(found.strength).all()


def test_a_users_map_is_read_from_black_to_white(tmp_path: Path) -> None:
    for values, name in (
        (np.array([[0, 51], [204, 255]], np.uint8), "a.png"),
        (np.array([[0, 13107], [52428, 65535]], np.uint16), "b.png"),
    ):
        cv2.imwrite(str(tmp_path / name), values)
        found = read_contours(tmp_path / name, (2, 2))
        np.testing.assert_allclose(found.strength, [[0, 0.2], [0.8, 1]], atol=1e-6)
        assert found.oriented is None
        assert found.directed().shape == (8, 2, 2)


def test_a_users_map_must_be_grey_and_of_the_image_s_size(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.zeros((4, 6), np.uint8))
    cv2.imwrite(str(tmp_path / "color.png"), np.zeros((4, 6, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "float.tiff"), np.zeros((4, 6), np.float32))
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "huge.png").write_bytes(png_header(60000, 60000))
    for name, size, problem in (
        ("grey.png", (6, 4), "is 6 x 4 pixels, and its image 4 x 6"),
        ("color.png", (4, 6), "has 3 channels"),
        ("float.tiff", (4, 6), "has pixels of type float32"),
        ("text.png", (4, 6), "is no image"),
        ("huge.png", (60000, 60000), "is no image"),
        ("gone.png", (4, 6), "file not found"),
    ):
        with pytest.raises(UserError, match=problem):
            read_contours(tmp_path / name, size)
