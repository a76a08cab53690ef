"""Square crops at random places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def place(length: int, side: int, share: float) -> tuple[int, int]:
    """Where a window of `side` begins along an axis of `length`: its first index, and where that goes in it.

    share: in [0, 1), of the room there is, for the window in the axis or for the axis in a wider window.
    """
    room = int(share * (abs(length - side) + 1))
    return (room, 0) if length >= side else (0, room)


def cut_square(
    array: NDArray[np.uint8], side: int, pad: Sequence[float] | int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Cut a (side, side, ...) window out of an (H, W, ...) array; a shorter axis lies anywhere in it.

    pad: value of what is not of the array, one or one per channel, rounded.  Draws two numbers from `rng`.
    """
    (top, above), (left, before) = (
        place(length, side, share) for length, share in zip(array.shape[:2], rng.random(2), strict=True)
    )
    part = array[top : top + side, left : left + side]
    window = np.empty((side, side, *array.shape[2:]), dtype=np.uint8)
    window[:] = np.round(pad).astype(np.uint8)
    window[above : above + part.shape[0], before : before + part.shape[1]] = part
    return window
