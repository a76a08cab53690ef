"""Masks as COCO run lengths (RLE): checked conversion from what annotation files hold, and back to pixels.

pycocotools trusts its input: it reads past the end of a damaged string and takes a polygon of four numbers
for a box.  Everything that comes from a file therefore passes `rle_from_segmentation` or `check_rle` first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

Rle = dict[str, Any]  # {"size": [height, width], "counts": str}, column-major run lengths, compressed
Size = tuple[int, int]  # (height, width)
SMALL_AREA, MEDIUM_AREA = 32.0**2, 96.0**2  # square pixels up to which COCO calls an object small or medium


class MaskError(ValueError):
    """A mask that cannot be used: `problem` is the kind, `detail` what is particular to this mask."""

    def __init__(self, problem: str, detail: str = "") -> None:
        super().__init__(f"{problem}: {detail}" if detail else problem)
        self.problem, self.detail = problem, detail


def encode(masks: NDArray[np.bool_]) -> list[Rle]:
    """(N, H, W) bool to N compressed RLEs with text counts, as JSON needs them."""
    columns = np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8))
    return [_as_text(rle) for rle in coco_mask.encode(columns)]


def encode_window(window: NDArray[np.bool_], left: int, top: int, size: Size) -> Rle:
    """The RLE of a mask of (height, width) `size` that is 0 but for (h, w) bool `window` at (left, top).

    The same as `encode` of the whole mask, in time that depends on the window alone.
    """
    height, width = size
    # One column per row, with a 0 at either end: where neighbours differ, a run starts or ends.
    columns = np.zeros((window.shape[1], window.shape[0] + 2), dtype=bool)
    columns[:, 1:-1] = window.T
    places = np.flatnonzero(columns[:, 1:] != columns[:, :-1])
    column, row = np.divmod(places, window.shape[0] + 1)
    places = (left + column) * height + top + row
    # A run that goes on from the foot of one column to the head of the next ends and starts at one place.
    joined = np.flatnonzero(places[1:] == places[:-1])
    places = np.delete(places, np.concatenate([joined, joined + 1]))
    runs = np.diff(places, prepend=0, append=height * width)
    runs = runs if runs[-1] else runs[:-1]
    return _as_text(coco_mask.frPyObjects({"size": list(size), "counts": runs.tolist()}, *size))


def encode_box(box: Sequence[float], size: Size) -> Rle:
    """The RLE of every pixel that the box x, y, width, height touches in an image of (height, width) `size`.

    The box has an area inside the image, and so the mask has a pixel.
    """
    x, y, width, height = box
    left, top = max(math.floor(x), 0), max(math.floor(y), 0)
    right, bottom = min(math.ceil(x + width), size[1]), min(math.ceil(y + height), size[0])
    return encode_window(np.ones((bottom - top, right - left), dtype=bool), left, top, size)


def decode(rles: Sequence[Rle], size: Size) -> NDArray[np.bool_]:
    """N compressed RLEs of one image of (height, width) `size` to (N, H, W) bool.

    A view: run-length masks run down the columns, and turning hundreds of full-size masks round costs
    more than decoding them.
    """
    if not rles:
        return np.zeros((0, *size), dtype=bool)
    masks: NDArray[np.bool_] = coco_mask.decode(list(rles)).transpose(2, 0, 1).view(bool)
    return masks


def areas(rles: Sequence[Rle]) -> NDArray[np.int64]:
    """(N,) pixel counts."""
    # One at a time: pycocotools 2.0.11 counts the masks of a list in eight bits, and fails from 256 on.
    return np.fromiter((coco_mask.area(rle) for rle in rles), dtype=np.int64, count=len(rles))


def extents(rles: Sequence[Rle]) -> NDArray[np.float64]:
    """(N, 4) x, y, width, height of the pixels of each mask, in whole pixels."""
    return np.asarray(coco_mask.toBbox(list(rles)), dtype=np.float64).reshape(-1, 4)


def rle_from_segmentation(segmentation: Any, size: Size) -> Rle:
    """A `segmentation` of an annotation file as a compressed RLE of (height, width) `size`.

    Takes a list of polygons [x0, y0, x1, y1, ...] (pixels, at least three points each, their union is the
    mask; parts outside the image are cut off), or run lengths, compressed or not.
    Raises MaskError for anything else, for a mask that does not fit the image and for one without pixels.
    """
    if isinstance(segmentation, list):
        rle = _from_polygons(segmentation, size)
    elif isinstance(segmentation, dict):
        rle = _from_run_lengths(segmentation, size)
    else:
        raise MaskError("the segmentation is neither polygons nor run lengths")
    if not coco_mask.area(rle):
        raise MaskError("the mask has no pixel inside the image")
    return rle


def check_rle(rle: Any, size: Size) -> None:
    """Raise MaskError unless `rle` is a compressed RLE that pycocotools can decode to `size` safely."""
    if not isinstance(rle, dict) or not isinstance(rle.get("counts"), str):
        raise MaskError("the mask is not a compressed run-length mask")
    _check_size(rle, size)
    _check_total(_decompress(rle["counts"]), size)


def points_outside(segmentation: Any, size: Size, margin: float) -> bool:
    """Whether a (checked) list of polygons has a point more than `margin` pixels outside the image."""
    if not isinstance(segmentation, list):
        return False
    limits = np.array([size[1] + margin, size[0] + margin])
    points = [np.asarray(polygon, dtype=np.float64).reshape(-1, 2) for polygon in segmentation]
    return any(bool((part < -margin).any() or (part > limits).any()) for part in points)


def _from_polygons(polygons: list[Any], size: Size) -> Rle:
    for polygon in polygons:
        _check_polygon(polygon, size)
    parts = coco_mask.frPyObjects(polygons, *size)
    return _as_text(parts[0] if len(parts) == 1 else coco_mask.merge(parts))


def _check_polygon(polygon: Any, size: Size) -> None:
    if not isinstance(polygon, list):
        raise MaskError("a polygon must be a list of numbers inside the list of polygons")
    if len(polygon) % 2:
        raise MaskError("a polygon has an odd count of numbers", str(len(polygon)))
    if len(polygon) < 6:
        raise MaskError("a polygon needs three points", f"one has {len(polygon) // 2}")
    values = _numbers(polygon, "a polygon")
    if not np.isfinite(values).all():
        raise MaskError("a polygon has a value that is not a finite number")
    reach = max(size)  # tracing costs time and memory by length, and overflows for absurd coordinates
    if values.min() < -reach or values.max() > 2 * reach:
        raise MaskError("a polygon lies far outside the image")


def _from_run_lengths(rle: dict[str, Any], size: Size) -> Rle:
    counts = rle.get("counts")
    if counts is None:
        raise MaskError("the run-length mask has no counts")
    _check_size(rle, size)
    runs = _decompress(counts) if isinstance(counts, str) else _integers(counts)
    _check_total(runs, size)
    if isinstance(counts, str) and runs[1:].all():
        return {"size": list(size), "counts": counts}
    if not runs[1:].all():  # empty runs are legal, but extents() of pycocotools is wrong for them
        return encode(_paint(runs, size)[None])[0]
    return _as_text(coco_mask.frPyObjects({"size": list(size), "counts": runs.tolist()}, *size))


def _check_size(rle: dict[str, Any], size: Size) -> None:
    if rle.get("size") != list(size):
        raise MaskError(
            "the run-length mask has another size than its image",
            f"[height, width] {str(rle.get('size'))[:40]} and {list(size)}",
        )


def _check_total(runs: NDArray[np.int64], size: Size) -> None:
    if (runs < 0).any():
        raise MaskError("the run-length mask has a negative run")
    total = sum(runs.tolist())  # Python's sum: numpy's could wrap round to the right number
    if total != size[0] * size[1]:
        raise MaskError(
            "the run lengths do not add up to the pixels of the image",
            f"{total}, not {size[0]}*{size[1]} = {size[0] * size[1]}",
        )


def _decompress(text: str) -> NDArray[np.int64]:
    """COCO's compressed counts as run lengths, with a check of every character.

    Each number is a little-endian group of 5-bit digits (character code - 48) with a continuation bit 32
    and a sign in bit 16 of the last digit; from the fourth number on it is the difference to the run two
    places before.
    """
    codes = np.frombuffer(text.encode("utf-8", "replace"), dtype=np.uint8).astype(np.int64) - 48
    damaged = MaskError("the compressed run-length mask is damaged")
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise damaged
    last = np.flatnonzero(codes & 32 == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    if (last - first).max() > 6:  # 35 bits: more than any image has pixels
        raise damaged
    shift = 5 * (np.arange(len(codes)) - np.repeat(first, last - first + 1))
    values = np.add.reduceat((codes & 31) << shift, first)
    values -= np.where(codes[last] & 16, np.int64(1) << (shift[last] + 5), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _paint(runs: NDArray[np.int64], size: Size) -> NDArray[np.bool_]:
    """(H, W) bool from run lengths, which alternate from background and run down the columns."""
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(size[1], size[0]).T


def _integers(values: Any) -> NDArray[np.int64]:
    whole = isinstance(values, list) and set(map(type, values)) == {int}
    if not whole or min(values) < -(2**40) or max(values) > 2**40:
        raise MaskError("the run lengths are not whole numbers")
    return np.array(values, dtype=np.int64)


def _numbers(values: list[Any], what: str) -> NDArray[np.float64]:
    if not set(map(type, values)) <= {int, float}:  # stricter than numpy, to which True is a number
        raise MaskError(f"{what} has a value that is not a number")
    try:
        return np.array(values, dtype=np.float64)
    except OverflowError:
        raise MaskError(f"{what} has a value that is not a finite number") from None


def _as_text(rle: dict[str, Any]) -> Rle:
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}
