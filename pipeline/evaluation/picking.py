"""Which images a gallery shows: the best, median and worst by one quality figure per image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Picked = Literal["best", "median", "worst"]


def pick_images(quality: Mapping[int, float], count: int) -> dict[int, Picked]:
    """Image id -> why it is shown: `count` each of the best, the median and the worst, no image twice.

    Ties go to the smaller id.  With fewer than 3 * `count` images, there are fewer of each kind.
    """
    order = sorted(quality, key=lambda image: (-quality[image], image))
    count = min(count, len(order) // 3) if len(order) >= 3 else min(count, len(order))
    best = order[:count]
    worst = [image for image in order[::-1][:count][::-1] if image not in best]
    rest = [image for image in order if image not in best and image not in worst]
    start = max(0, (len(rest) - count) // 2)
    ranks: dict[int, Picked] = dict.fromkeys(best, "best")
    return ranks | dict.fromkeys(rest[start : start + count], "median") | dict.fromkeys(worst, "worst")
