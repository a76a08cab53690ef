from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.sampler import Key, StepSampler, batches, draws

SIZES = {"length": st.integers(1, 40), "batch_size": st.integers(1, 9), "seed": st.integers(0, 2**31)}


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


@given(**SIZES, start=st.integers(0, 30), grouped=st.booleans())
@settings(deadline=None, max_examples=100)
def test_any_step_can_be_the_first(
    length: int, batch_size: int, seed: int, start: int, grouped: bool
) -> None:
    wide = np.arange(length) % 3 > 0 if grouped else None
    whole = take(start + 4, length, batch_size, seed, wide)
    assert take(4, length, batch_size, seed, wide, start) == whole[start:]


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


@pytest.mark.parametrize("grouped", [False, True])
def test_processes_share_each_batch(grouped: bool) -> None:
    wide = np.arange(10) % 3 > 0 if grouped else None
    whole, *parts = (
        list(StepSampler(10, 6, 0, 2, 9, wide, process, processes))
        for process, processes in ((0, 1), (0, 3), (1, 3), (2, 3))
    )
    assert len(whole) == 7
    assert whole == [one + two + three for one, two, three in zip(*parts, strict=True)]
    assert whole == take(7, 10, 6, 0, wide, 2)
