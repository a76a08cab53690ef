from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.sampler import (
    Key,
    StepSampler,
    batches,
    draws,
    epoch_images,
    repeat_factors,
    step_of,
)

SIZES = {"length": st.integers(1, 40), "batch_size": st.integers(1, 9), "seed": st.integers(0, 2**31)}
REPEATS = st.lists(st.floats(1, 5), min_size=1, max_size=30).map(np.array)


def take(number: int, *arguments: object, **keywords: object) -> list[list[Key]]:
    return list(islice(batches(*arguments, **keywords), number))  # type: ignore[arg-type]


@given(length=SIZES["length"], seed=SIZES["seed"], epochs=st.integers(1, 4))
@settings(deadline=None, max_examples=50)
def test_every_epoch_has_every_image_once(length: int, seed: int, epochs: int) -> None:
    keys = list(islice(draws(length, seed), epochs * length))
    assert [draw for _, draw in keys] == list(range(epochs * length))
    for epoch in range(epochs):
        assert sorted(index for index, _ in keys[epoch * length : (epoch + 1) * length]) == list(
            range(length)
        )


@given(**SIZES, start=st.integers(0, 30), grouped=st.booleans(), repeated=st.booleans())
@settings(deadline=None, max_examples=200)
def test_any_step_can_be_the_first(
    length: int, batch_size: int, seed: int, start: int, grouped: bool, repeated: bool
) -> None:
    wide = np.arange(length) % 3 > 0 if grouped else None
    repeats = 1 + np.arange(length) % 7 / 3 if repeated else None
    whole = take(start + 4, length, batch_size, seed, wide, repeats=repeats)
    assert take(4, length, batch_size, seed, wide, start, repeats) == whole[start:]


@given(**SIZES, repeated=st.booleans())
@settings(deadline=None, max_examples=50)
def test_a_draw_tells_its_step(length: int, batch_size: int, seed: int, repeated: bool) -> None:
    repeats = 1 + np.arange(length) % 7 / 3 if repeated else None
    for step, batch in enumerate(take(9, length, batch_size, seed, repeats=repeats)):
        assert {step_of(draw, batch_size) for _, draw in batch} == {step}


@given(**SIZES)
@settings(deadline=None, max_examples=50)
def test_groups_do_not_mix_and_lose_nothing(length: int, batch_size: int, seed: int) -> None:
    wide = np.arange(length) % 2 == 0
    found = take(20, length, batch_size, seed, wide)
    assert all(len({bool(wide[index]) for index, _ in batch}) == 1 for batch in found)
    used = {draw for batch in found for _, draw in batch}
    assert len(used) == 20 * batch_size
    # At most one unfinished batch per group waits.
    assert max(used) + 1 - len(used) < 2 * batch_size


def test_epochs_and_seeds_differ() -> None:
    orders = {
        tuple(index for index, _ in islice(draws(50, seed, start), 50))
        for seed in (0, 1)
        for start in (0, 50)
    }
    assert len(orders) == 4


@pytest.mark.parametrize("repeats", [None, np.linspace(1, 3, 10)], ids=["once", "repeated"])
@pytest.mark.parametrize("grouped", [False, True])
def test_processes_share_each_batch(grouped: bool, repeats: np.ndarray | None) -> None:
    wide = np.arange(10) % 3 > 0 if grouped else None
    whole, *parts = (
        list(StepSampler(10, 6, 0, 2, 9, wide, process, processes, repeats))
        for process, processes in ((0, 1), (0, 3), (1, 3), (2, 3))
    )
    assert len(whole) == 7
    assert whole == [one + two + three for one, two, three in zip(*parts, strict=True)]
    assert whole == take(7, 10, 6, 0, wide, 2, repeats)


# --- repeats -----------------------------------------------------------------------------------------


@given(repeats=REPEATS, seed=SIZES["seed"])
@settings(deadline=None, max_examples=50)
def test_an_epoch_rounds_each_repeat_up_or_down(repeats: np.ndarray, seed: int) -> None:
    sequence, first = draws(len(repeats), seed, repeats=repeats), 0
    for epoch in range(3):
        images = epoch_images(len(repeats), seed, epoch, repeats)
        keys = list(islice(sequence, len(images)))
        assert [draw for _, draw in keys] == list(range(first, first + len(images)))
        assert sorted(index for index, _ in keys) == images.tolist()
        counts = np.bincount(images, minlength=len(repeats))
        assert (np.floor(repeats) <= counts).all()
        assert (counts <= np.ceil(repeats)).all()
        first += len(images)


def test_repeats_hold_on_average_and_epochs_differ() -> None:
    repeats = np.array([1.0, 1.25, 1.5, 2.9, 4.0])
    counts = np.array([np.bincount(epoch_images(5, 3, epoch, repeats)) for epoch in range(2000)])
    np.testing.assert_allclose(counts.mean(axis=0), repeats, atol=0.04)  # four standard errors
    assert (counts[:, [0, 4]] == [1, 4]).all()
    assert len({tuple(row) for row in counts[:50]}) > 4
    assert abs(np.corrcoef(counts[:, 1], counts[:, 2])[0, 1]) < 0.1


@given(length=SIZES["length"], seed=SIZES["seed"], start=st.integers(0, 100))
@settings(deadline=None, max_examples=50)
def test_repeats_of_one_change_nothing(length: int, seed: int, start: int) -> None:
    repeated = draws(length, seed, start, np.ones(length))
    assert list(islice(repeated, 50)) == list(islice(draws(length, seed, start), 50))


def test_repeat_factors_by_hand() -> None:
    """Of 8 images all have class 0, two class 1, one class 3 (twice); no image has class 2."""
    classes = [np.array(own) for own in ([0], [0], [0], [0, 0], [0], [0, 1], [1, 0], [3, 0, 3])]
    found = repeat_factors(classes, 0.5)
    assert found.tolist() == [1, 1, 1, 1, 1, 2**0.5, 2**0.5, 2]


@given(
    st.lists(st.lists(st.integers(0, 6), max_size=5), min_size=1, max_size=20),
    st.floats(1e-4, 20),
)
@settings(deadline=None, max_examples=100)
def test_repeat_factors_are_those_of_the_rarest_class(classes: list[list[int]], threshold: float) -> None:
    found = repeat_factors([np.array(own, dtype=np.int64) for own in classes], threshold)
    for own, factor in zip(classes, found, strict=True):
        shares = [sum(name in other for other in classes) / len(classes) for name in own]
        assert factor == pytest.approx(max([1.0, *((threshold / share) ** 0.5 for share in shares)]))


def test_a_threshold_above_one_repeats_every_image() -> None:
    """Guided Distillation's 10: in proportion to 1 over the root of the share of the rarest class."""
    found = repeat_factors([np.array([0]), np.array([0]), np.array([0]), np.array([0, 1])], 10.0)
    assert found == pytest.approx([10**0.5, 10**0.5, 10**0.5, 40**0.5])


def test_a_class_that_is_frequent_enough_repeats_nothing() -> None:
    assert repeat_factors([np.array([0, 1]), np.array([1]), np.empty(0, int)], 1 / 3).tolist() == [1, 1, 1]
