"""Compressed run lengths, looked at before COCO's tools do: a damaged mask can make them hang."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def run_lengths(counts: str | bytes) -> NDArray[np.int64] | None:
    """The run lengths of COCO's compressed RLE, background first; None if the text is no such thing.

    Each number is written in groups of 5 bits, lowest first, as characters from "0" on; the 6th bit says
    that another group follows, the highest bit of the last group is the sign.  From the fourth number on,
    what is written is the difference to the number two before.
    """
    try:
        codes = np.frombuffer(counts.encode("ascii") if isinstance(counts, str) else counts, np.uint8)
    except UnicodeEncodeError:
        return None
    groups = codes.astype(np.int64) - 48
    if not len(groups) or groups.min() < 0 or groups.max() > 63 or groups[-1] & 32:
        return None
    ends = np.flatnonzero((groups & 32) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    widths = ends - starts + 1
    if widths.max() > 12:  # more bits than a number has
        return None
    shifts = 5 * (np.arange(len(groups)) - np.repeat(starts, widths))
    values = np.add.reduceat((groups & 31) << shifts, starts)
    values -= np.where(groups[ends] & 16, np.int64(1) << (5 * widths), 0)
    values[1::2] = values[1::2].cumsum()
    values[2::2] = values[2::2].cumsum()
    return values


def is_rle(counts: str | bytes, height: int, width: int) -> bool:
    """Whether `counts` are runs that fill an image of this size exactly."""
    runs = run_lengths(counts)
    return runs is not None and bool((runs >= 0).all()) and int(runs.sum()) == height * width
