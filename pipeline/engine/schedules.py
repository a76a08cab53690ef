"""Learning-rate factors as pure functions of the step, which counts from 0."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.params import Training


def warmup_factor(step: int, steps: int, start: float) -> float:
    """Linear from `start` at step 0 to 1 at step `steps`, then 1 (detectron2's linear warm-up)."""
    if step >= steps:
        return 1.0
    share = step / steps
    return start * (1.0 - share) + share


def step_factor(step: int, milestones: Sequence[int]) -> float:
    """0.1 to the power of the number of milestones reached; a milestone takes effect at its own step."""
    return float(0.1 ** sum(step >= milestone for milestone in milestones))


def cosine_factor(step: int, steps: int) -> float:
    """Half a cosine from 1 at step 0 to 0 at step `steps` (arXiv 1608.03983, one cycle)."""
    return 0.5 * (1.0 + math.cos(math.pi * step / steps))


def poly_factor(step: int, steps: int, power: float) -> float:
    """(1 - step / steps) ** power (DeepLab, arXiv 1606.00915, section 4.1.2)."""
    return float((1.0 - step / steps) ** power)


def rate_factor(step: int, training: Training) -> float:
    """What the learning rate is multiplied by at `step`: the warm-up times the schedule."""
    match training.schedule:
        case "step":
            decay = step_factor(step, training.milestones)
        case "cosine":
            decay = cosine_factor(step, training.steps)
        case "poly":
            decay = poly_factor(step, training.steps, training.poly_power)
        case "constant":
            decay = 1.0
    return warmup_factor(step, training.warmup_steps, training.warmup_start) * decay
