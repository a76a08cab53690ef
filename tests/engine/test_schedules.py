from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.engine import schedules
from tests.mal_vectors import arrays


def test_warmup_is_linear() -> None:
    # The reference: 1000 iterations from 0.001 of the rate.
    assert schedules.warmup_factor(0, 1000, 0.001) == 0.001
    assert schedules.warmup_factor(500, 1000, 0.001) == pytest.approx(0.5005, abs=1e-12)
    assert schedules.warmup_factor(999, 1000, 0.001) == pytest.approx(0.999001, abs=1e-12)
    assert schedules.warmup_factor(1000, 1000, 0.001) == 1.0
    assert schedules.warmup_factor(0, 0, 0.001) == 1.0


def test_step_takes_effect_at_its_milestone() -> None:
    factors = [schedules.step_factor(step, (60_000, 80_000)) for step in (59_999, 60_000, 79_999, 80_000)]
    assert factors == pytest.approx([1.0, 0.1, 0.1, 0.01], rel=1e-12)


def test_cosine_falls_from_one_to_zero() -> None:
    factors = [schedules.cosine_factor(step, 12) for step in (0, 4, 6, 12)]
    assert factors == pytest.approx([1.0, 0.75, 0.5, 0.0], abs=1e-12)


def test_cosine_ends_at_its_final_share() -> None:
    factors = [schedules.cosine_factor(step, 12, 0.2) for step in (0, 4, 6, 12)]
    assert factors == pytest.approx([1.0, 0.2 + 0.8 * 0.75, 0.6, 0.2], abs=1e-12)


def test_poly_follows_its_power() -> None:
    assert schedules.poly_factor(0, 100, 0.9) == 1.0
    assert schedules.poly_factor(75, 100, 0.5) == 0.5
    assert schedules.poly_factor(100, 100, 0.9) == 0.0


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("step", 0.55 * 0.1),
        ("cosine", 0.55 * (0.3 + 0.7 * 0.75)),
        ("cosine_after_warmup", 0.55),
        ("poly", 0.55 * (2 / 3) ** 2),
        ("constant", 0.55),
    ],
)
def test_warmup_and_schedule_multiply(tiny: ModuleType, schedule: str, expected: float) -> None:
    training = tiny.settings(
        schedule=schedule,
        steps=12,
        milestones=(4, 8),
        poly_power=2.0,
        final_rate=0.3,
        warmup_steps=8,
        warmup_start=0.1,
    )
    assert schedules.rate_factor(4, training) == pytest.approx(expected, rel=1e-12)


def test_cosine_after_warmup_spans_the_steps_that_are_left(tiny: ModuleType) -> None:
    training = tiny.settings(schedule="cosine_after_warmup", steps=12, warmup_steps=8, final_rate=0.3)
    factors = [schedules.rate_factor(step, training) for step in (8, 10, 12)]
    assert factors == pytest.approx([1.0, 0.65, 0.3], rel=1e-12)


def test_the_rates_of_mal(tiny: ModuleType) -> None:
    """The release's formula; its loop uses each value one step later, which ours does not."""
    published = arrays("lr_schedule")
    iterations, batch_size = int(published["iters_per_epoch"]), 32
    recipe = tiny.settings(
        duration="epochs",
        steps=int(published["max_epochs"]),
        batch_size=batch_size,
        schedule="cosine_after_warmup",
        warmup_steps=int(published["warmup_epochs"]),
        warmup_start=0.0,
        final_rate=float(published["min_lr"] / published["peak_lr"]),
    )
    training = schedules.in_steps(recipe, iterations * batch_size)
    rates = [
        published["peak_lr"] * schedules.rate_factor(epoch * iterations + step, training)
        for epoch, step in published["epoch_step"].tolist()
    ]
    assert rates == pytest.approx(published["lr"].tolist(), rel=1e-9, abs=0)


def test_the_rates_of_spml(tiny: ModuleType, vectors: Path) -> None:
    """The smaller of warm-up and schedule; the step schedule of the vector has the same warm-up."""
    with np.load(vectors / "spml" / "schedule.npz", allow_pickle=False) as published:
        recipe = tiny.settings(
            schedule="poly_or_warmup", steps=30_000, poly_power=0.9, warmup_steps=100, warmup_start=0.1
        )
        for steps, rates in (("iteration", "lr"), ("warm_iteration", "warm_lr")):
            factors = [schedules.rate_factor(step, recipe) for step in published[steps].tolist()]
            np.testing.assert_allclose(3e-3 * np.array(factors), published[rates], rtol=1e-4, atol=0)
        factors = [
            min(schedules.step_factor(step, (10_000, 20_000)), schedules.warmup_factor(step, 100, 0.1))
            for step in published["iteration"].tolist()
        ]
        np.testing.assert_allclose(3e-3 * np.array(factors), published["step_lr"], rtol=1e-4, atol=0)


def test_epochs_become_steps_once(tiny: ModuleType) -> None:
    recipe = tiny.settings(duration="epochs", steps=12, milestones=(4, 8), warmup_steps=1, batch_size=4)
    training = schedules.in_steps(recipe, 10)
    assert (training.duration, training.steps) == ("steps", 30)
    assert (training.milestones, training.warmup_steps) == ((10, 20), 3)
    assert schedules.in_steps(training, 10) is training
    assert training.checkpoint_every == recipe.checkpoint_every


def test_a_warmup_may_be_a_part_of_an_epoch(tiny: ModuleType) -> None:
    recipe = tiny.settings(duration="epochs", steps=12, warmup_steps=0.25, batch_size=4)
    assert schedules.in_steps(recipe, 100).warmup_steps == 7
    with pytest.raises(ValidationError, match="whole number unless duration is epochs"):
        tiny.settings(duration="steps", steps=12, warmup_steps=0.25)


@given(st.integers(0, 50), st.integers(1, 10_000), st.integers(1, 512))
def test_steps_of_epochs_are_the_fewest_that_draw_everything(
    epochs: int, length: int, batch_size: int
) -> None:
    steps = schedules.epochs_in_steps(epochs, length, batch_size)
    assert steps * batch_size >= epochs * length
    assert steps == 0 or (steps - 1) * batch_size < epochs * length


def test_a_dataset_smaller_than_a_batch_may_end_with_its_warmup(tiny: ModuleType) -> None:
    recipe = tiny.settings(
        duration="epochs", steps=2, warmup_steps=1, batch_size=64, schedule="cosine_after_warmup"
    )
    training = schedules.in_steps(recipe, 10)
    assert (training.steps, training.warmup_steps) == (1, 1)
    assert schedules.rate_factor(0, training) == 0.001


def test_a_warmup_without_end_is_refused(tiny: ModuleType) -> None:
    with pytest.raises(ValidationError, match="more steps than warmup_steps"):
        tiny.settings(schedule="cosine_after_warmup", steps=8, warmup_steps=8)
