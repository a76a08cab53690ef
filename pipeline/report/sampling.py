"""Which images stand for all of them where none can be called best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def spread_evenly(images: Sequence[T], count: int) -> list[T]:
    """At most `count` of the images, in their order, from the first to the last at equal distances."""
    places = np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)
    return [images[place] for place in places]
