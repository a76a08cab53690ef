"""Colours of training images changed at random: what only a student sees, and SSD's distortion."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torchvision.transforms import functional

from pipeline.params import Disturbance

Pixels = NDArray[np.uint8]

# SSD (arXiv 1512.02325), numbers of its release: largest shift of all channels, of 255; largest relative
# change of contrast and of saturation; largest shift of the hue, in degrees.
SSD_BRIGHTNESS = 32
SSD_CONTRAST = 0.5
SSD_SATURATION = 0.5
SSD_HUE = 36


def disturb(pixels: Pixels, settings: Disturbance, rng: np.random.Generator) -> Pixels:
    """Colour jitter, grey and Gaussian blur, each by chance, of an image (H, W, 3) uint8 RGB.

    Always draws the same amount of numbers, so that one choice does not shift the others.
    """
    jitter, grey, blur, radius = rng.random(4).tolist()
    strengths, order = rng.uniform(-1, 1, 4).tolist(), rng.permutation(4).tolist()
    image = Image.fromarray(pixels)
    if jitter < settings.jitter_probability:
        image = _jittered(image, settings, strengths, order)
    if grey < settings.grey_probability:
        image = image.convert("L").convert("RGB")
    if blur < settings.blur_probability:
        low, high = settings.blur_radius
        image = image.filter(ImageFilter.GaussianBlur(low + (high - low) * radius))
    return np.asarray(image)


def _jittered(
    image: Image.Image,
    settings: Disturbance,
    strengths: list[float],
    order: list[int],
) -> Image.Image:
    """Change brightness, contrast and saturation by factors round 1 and the hue by a shift, in `order`."""
    changes = (
        functional.adjust_brightness,
        functional.adjust_contrast,
        functional.adjust_saturation,
        functional.adjust_hue,
    )
    for index in order:
        reach = settings.jitter[index] * strengths[index]
        if settings.jitter[index]:  # a hue shift of 0 would still round through HSV
            image = changes[index](image, reach if index == 3 else max(1 + reach, 0))
    return image


def distort(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """SSD's photometric distortion of an image (H, W, 3) uint8 RGB: each of four changes at even chance.

    Brightness comes first; contrast comes before saturation and hue or after them, at even chance.  Always
    draws the same amount of numbers.
    """
    chosen, contrast_first = rng.random(4) < 0.5, rng.random() < 0.5
    brightness, contrast, saturation, hue = rng.uniform(-1, 1, 4).tolist()
    changes: dict[str, Callable[[Pixels], Pixels]] = {
        "brightness": lambda image: _rounded(image + np.float32(SSD_BRIGHTNESS * brightness)),
        "contrast": lambda image: _rounded(image * np.float32(1 + SSD_CONTRAST * contrast)),
        "saturation": lambda image: _saturated(image, 1 + SSD_SATURATION * saturation),
        "hue": lambda image: _turned(image, SSD_HUE * hue),
    }
    order = ("contrast", "saturation", "hue") if contrast_first else ("saturation", "hue", "contrast")
    wanted = dict(zip(changes, chosen, strict=True))
    for name in ("brightness", *order):
        if wanted[name]:
            pixels = changes[name](pixels)
    return pixels


def _rounded(values: NDArray[np.float32]) -> Pixels:
    return np.asarray(np.rint(values.clip(0, 255)), np.uint8)


def _saturated(pixels: Pixels, factor: float) -> Pixels:
    hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)
    hsv[..., 1] = _rounded(hsv[..., 1] * np.float32(factor))
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)


def _turned(pixels: Pixels, degrees: float) -> Pixels:
    hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)
    # OpenCV's hue has two degrees per step: 0 to 179.
    hsv[..., 0] = (hsv[..., 0].astype(np.int16) + round(degrees / 2)) % 180
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)
