"""Retention: what share of its oracle's figure a weakly supervised run keeps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pipeline.evaluation.intervals import Floats, interval


def retention(
    run: str, oracle: str, values: dict[str, float], resampled: dict[str, Floats], figure: str = "AP"
) -> dict[str, Any]:
    """`figure` of `run` over that of `oracle` in percent, with its paired interval over images.

    values: run -> the figure, the mean over its seeds, of the runs that have it (AP: that detect);
    resampled: run -> (samples,) the figure of the same resamples for all runs.  Returns {"value",
    "interval", "reason"}: value None and a reason when it is undefined; an oracle retains 100 % of itself by
    definition, without an interval.
    """
    if oracle == "none":
        return _undefined("has no oracle")
    if run not in values:
        return _undefined("masks in given boxes have no AP" if figure == "AP" else f"it has no {figure}")
    if run == oracle:
        return {"value": 100.0, "interval": None, "reason": ""}
    if oracle not in values:
        return _undefined(f"its oracle {oracle} was not evaluated, or has no {figure}")
    if math.isnan(values[run]) or math.isnan(values[oracle]):
        return _undefined(f"{figure} is undefined: there are no {'objects' if figure == 'AP' else 'labels'}")
    if values[oracle] <= 0:
        return _undefined(f"the {figure} of its oracle {oracle} is 0")
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = 100.0 * (resampled[run] / resampled[oracle])
    return {"value": 100.0 * (values[run] / values[oracle]), "interval": interval(ratios), "reason": ""}


def _undefined(reason: str) -> dict[str, Any]:
    return {"value": None, "interval": None, "reason": reason}
