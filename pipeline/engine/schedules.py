"""Learning-rate factors as pure functions of the step, which counts from 0, and epochs as steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.params import Training


def epochs_in_steps(epochs: float, length: int, batch_size: int) -> int:
    """Steps that draw each of `length` samples at least `epochs` times.

    The sampler's batches run on over the end of an epoch, so there is no partial batch to keep or to drop:
    steps are rounded up once, at the very end, and the last batch reaches into the next epoch.
    """
    return math.ceil(epochs * length / batch_size)


def in_steps(training: Training, length: int) -> Training:
    """The same recipe with its duration in optimiser steps, for epochs of `length` samples."""
    if training.duration == "steps":
        return training

    def steps(epochs: float) -> int:
        return epochs_in_steps(epochs, length, training.batch_size)

    return training.model_copy(
        update={
            "duration": "steps",
            "steps": steps(training.steps),
            "milestones": tuple(map(steps, training.milestones)),
            "warmup_steps": steps(training.warmup_steps),
        }
    )


def warmup_factor(step: int, steps: float, start: float) -> float:
    """Linear from `start` at step 0 to 1 at step `steps`, then 1 (detectron2's linear warm-up)."""
    if step >= steps:
        return 1.0
    share = step / steps
    return start * (1.0 - share) + share


def step_factor(step: int, milestones: Sequence[int]) -> float:
    """0.1 to the power of the number of milestones reached; a milestone takes effect at its own step."""
    return float(0.1 ** sum(step >= milestone for milestone in milestones))


def cosine_factor(step: float, steps: float, final: float = 0.0) -> float:
    """Half a cosine from 1 at step 0 to `final` at step `steps` (arXiv 1608.03983, one cycle)."""
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * step / steps))


def poly_factor(step: int, steps: int, power: float) -> float:
    """(1 - step / steps) ** power (DeepLab, arXiv 1606.00915, section 4.1.2)."""
    return float((1.0 - step / steps) ** power)


def rate_factor(step: int, training: Training) -> float:
    """What the learning rate is multiplied by at `step`: the warm-up times the schedule, or the smaller one.

    training: with its duration in steps (`in_steps`).  A step uses the value of its own number.  MAL's
    release sets the rate after each step, so that it is one step late and the first step runs at the peak;
    that step's loss is 0 by the warm-up of the loss weights, and here its rate is 0 by that of the rate.
    """
    match training.schedule:
        case "step":
            decay = step_factor(step, training.milestones)
        case "cosine":
            decay = cosine_factor(step, training.steps, training.final_rate)
        case "cosine_after_warmup":
            after = max(step - training.warmup_steps, 0)
            left = max(training.steps - training.warmup_steps, 1)
            decay = cosine_factor(after, left, training.final_rate)
        case "poly":
            decay = poly_factor(step, training.steps, training.poly_power)
        case "poly_or_warmup":  # the smaller of the two, as SPML's release has it
            decay = poly_factor(step, training.steps, training.poly_power)
            return min(warmup_factor(step, training.warmup_steps, training.warmup_start), decay)
        case "constant":
            decay = 1.0
    return warmup_factor(step, training.warmup_steps, training.warmup_start) * decay
