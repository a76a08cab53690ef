"""Regions of interest: the box crops that MAL trains and predicts on (arXiv 2301.03992, section 3.1).

A region is (left, top, right, bottom) in whole pixels of the image, right and bottom exclusive.  It may
reach outside the image: there it shows the opposite side of the image, since padding was found to mislead
the mean field.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Region = tuple[int, int, int, int]
Size = tuple[int, int]  # (height, width)
Boxes = NDArray[np.float32]
ScalarT = TypeVar("ScalarT", bound=np.generic)


def draw_margins(
    shares: NDArray[np.float64], gates: NDArray[np.float64], limits: tuple[float, float]
) -> NDArray[np.float64]:
    """(N, 4) margins of the left, top, right and bottom side, in half box sides.

    shares: (N, 4) and gates: (N, 2), uniform on [0, 1); limits: lowest and highest margin.  A gate splits
    an axis, g of the one side's draw and 1 - g of the other's, so that boxes come off the crop's centre.
    """
    low, high = limits
    gates = np.concatenate([gates, 1 - gates], axis=1)
    return (low + (high - low) * shares) * gates


def expand(boxes: Boxes, margins: NDArray[np.float64]) -> NDArray[np.int64]:
    """(N, 4) regions round (N, 4) boxes, x0 y0 x1 y1 in pixels, with (N, 4) margins in half box sides.

    Centres and half sides are float32 and the products float64, as published: a region is rounded outwards
    to whole pixels, and at the far ends one pixel is added before.
    """
    centers = (boxes[:, :2] + boxes[:, 2:]) / np.float32(2)
    near = centers - (centers - boxes[:, :2]) * (1 + margins[:, :2])
    far = centers + (boxes[:, 2:] - centers) * (1 + margins[:, 2:]) + 1
    return np.concatenate([np.floor(near), np.ceil(far)], axis=1).astype(np.int64)


def expand_train(boxes: Boxes, rng: np.random.Generator, limits: tuple[float, float]) -> NDArray[np.int64]:
    """(N, 4) regions with random margins within `limits`; draws six numbers per box."""
    numbers = rng.random((len(boxes), 6))
    return expand(boxes, draw_margins(numbers[:, :4], numbers[:, 4:], limits))


def expand_test(boxes: Boxes, margin: float) -> NDArray[np.int64]:
    """(N, 4) regions that add `margin` box sides to each box side, half of it at either end."""
    return expand(boxes, np.full((len(boxes), 4), 0.5 * margin))


def crop(pixels: NDArray[ScalarT], region: Region) -> NDArray[ScalarT]:
    """The region of an image (H, W) or (H, W, C); outside the image, pixel indices are modulo H and W.

    A view where the region lies inside.
    """
    left, top, right, bottom = region
    return _wrapped(_wrapped(pixels, top, bottom, 0), left, right, 1)


def resize(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """(H, W) or (H, W, 3) uint8 to side x side by Pillow's bicubic with antialiasing."""
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))


def crop_image(pixels: NDArray[np.uint8], region: Region, side: int) -> NDArray[np.uint8]:
    """(side, side, 3) uint8: the region of an image (H, W, 3), its aspect ratio not kept."""
    return resize(crop(pixels, region), side)


def crop_mask(box: Boxes, region: Region, size: Size, side: int, *, wrap: bool) -> NDArray[np.uint8]:
    """(side, side) uint8, 1 in the box: what `crop` and `resize` make of the box's mask in the image.

    The mask of a box (4,) in an image of (height, width) `size` is 1 on the rows trunc(y0) to trunc(y1) and
    the columns trunc(x0) to trunc(x1), both ends included.  wrap: outside the image it repeats as `crop`
    does (training); else it is 0 there (prediction).
    """
    ends = np.trunc(box).astype(np.int64)
    # Bicubic weights of a 0/1 line give less than 1.5, so uint8 keeps it 0/1 and the mask a product of two
    # lines: the image-sized mask is never made.
    columns = _line(ends[0], ends[2], region[0], region[2], size[1], wrap)
    rows = _line(ends[1], ends[3], region[1], region[3], size[0], wrap)
    across = np.asarray(Image.fromarray(columns[None]).resize((side, 1), Image.Resampling.BICUBIC))
    down = np.asarray(Image.fromarray(rows[:, None]).resize((1, side), Image.Resampling.BICUBIC))
    mask: NDArray[np.uint8] = down * across
    return mask


def _wrapped(pixels: NDArray[ScalarT], start: int, stop: int, axis: int) -> NDArray[ScalarT]:
    if start >= 0 and stop <= pixels.shape[axis]:
        return pixels[start:stop] if axis == 0 else pixels[:, start:stop]
    return pixels.take(np.arange(start, stop), axis=axis, mode="wrap")


def _line(first: int, last: int, start: int, stop: int, length: int, wrap: bool) -> NDArray[np.uint8]:
    """(stop - start,) uint8: 1 at the places `first` to `last` of an axis of `length` pixels."""
    places = np.arange(start, stop)
    inside = np.ones(len(places), dtype=bool) if wrap else (places >= 0) & (places < length)
    places %= length
    return (inside & (places >= first) & (places <= last)).astype(np.uint8)
