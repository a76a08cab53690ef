"""Which images a gallery shows."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.picking import pick_images


def test_best_median_and_worst() -> None:
    quality = {image: image / 10 for image in range(9)}
    assert pick_images(quality, 1) == {8: "best", 4: "median", 0: "worst"}


def test_ties_go_to_the_smaller_id() -> None:
    assert list(pick_images(dict.fromkeys((7, 3, 5), 0.5), 1)) == [3, 5, 7]


@given(st.dictionaries(st.integers(0, 99), st.floats(0, 1), max_size=20), st.integers(0, 4))
def test_never_more_than_asked_and_best_before_worst(quality: dict[int, float], count: int) -> None:
    ranks = pick_images(quality, count)
    assert all(number <= count for number in Counter(ranks.values()).values())
    assert set(ranks) <= set(quality)
    best, worst = (
        [quality[image] for image, rank in ranks.items() if rank == kind] for kind in ("best", "worst")
    )
    if count and quality:
        assert best
        assert max(best) == max(quality.values())
    if best and worst:
        assert min(best) >= max(worst)
