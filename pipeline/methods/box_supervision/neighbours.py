"""The window of neighbours that colour similarity and pairwise loss have in common."""

from __future__ import annotations


def neighbour_offsets(size: int, dilation: int) -> list[tuple[int, int]]:
    """(dy, dx) of the size^2 - 1 neighbours of a pixel, row by row, without the pixel itself.

    Entry j and entry -1 - j are opposite, so the second half holds every unordered pair once, with
    dy > 0, or dy = 0 and dx > 0.  Raises ValueError for an even size, which has no centre.
    """
    if size % 2 == 0:
        raise ValueError(f"a window of neighbours needs an odd size, not {size}")
    reach = reach_of(size, dilation)
    steps = range(-reach, reach + 1, dilation)
    return [(dy, dx) for dy in steps for dx in steps if (dy, dx) != (0, 0)]


def reach_of(size: int, dilation: int) -> int:
    """How many pixels the window extends to each side of its centre."""
    return size // 2 * dilation


def facing(length: int, offset: int) -> tuple[slice, slice]:
    """Along an axis: the pixels that have a neighbour at `offset`, and those neighbours, in the same order.

    Both are empty where no pixel of the axis has one.
    """
    start = max(0, -offset)
    stop = max(start, min(length, length - offset))
    return slice(start, stop), slice(start + offset, stop + offset)
