"""Images that stand for all: from the first to the last, at equal distances."""

from __future__ import annotations

import pytest

from pipeline.report.sampling import spread_evenly


@pytest.mark.parametrize(
    ("images", "count", "shown"),
    [
        (range(10, 21), 3, [10, 15, 20]),
        (range(10, 21), 2, [10, 20]),
        ([7, 3, 9], 6, [7, 3, 9]),
        ([7, 3, 9], 1, [7]),
        ([7, 3, 9], 0, []),
        ([], 4, []),
    ],
)
def test_they_are_spread_evenly(images: list[int], count: int, shown: list[int]) -> None:
    assert spread_evenly(images, count) == shown
