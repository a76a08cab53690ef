"""What the student sees instead of the plain crop (arXiv 2301.03992, section 3.1; numbers of the release)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torchvision.transforms import functional

from pipeline.params import CropAugmentation


def disturb(
    pixels: NDArray[np.uint8], settings: CropAugmentation, rng: np.random.Generator
) -> NDArray[np.uint8]:
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
    settings: CropAugmentation,
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
