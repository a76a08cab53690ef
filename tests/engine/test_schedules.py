from __future__ import annotations

from types import ModuleType

import pytest

from pipeline.engine import schedules


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


def test_poly_follows_its_power() -> None:
    assert schedules.poly_factor(0, 100, 0.9) == 1.0
    assert schedules.poly_factor(75, 100, 0.5) == 0.5
    assert schedules.poly_factor(100, 100, 0.9) == 0.0


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("step", 0.55 * 0.1), ("cosine", 0.55 * 0.75), ("poly", 0.55 * (2 / 3) ** 2), ("constant", 0.55)],
)
def test_warmup_and_schedule_multiply(tiny: ModuleType, schedule: str, expected: float) -> None:
    training = tiny.settings(
        schedule=schedule, steps=12, milestones=(4, 8), poly_power=2.0, warmup_steps=8, warmup_start=0.1
    )
    assert schedules.rate_factor(4, training) == pytest.approx(expected, rel=1e-12)
