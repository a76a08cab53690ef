"""Retention: what share of its oracle's AP a weakly supervised run keeps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pipeline.evaluation.intervals import Floats, interval


def retention(run: str, oracle: str, ap: dict[str, float], resampled: dict[str, Floats]) -> dict[str, Any]:
    """AP of `run` over AP of `oracle` in percent, with its paired interval over images.

    ap: run -> AP, the mean over its seeds, of the runs that detect; resampled: run -> (samples,) AP of the
    same resamples for all runs.  Returns {"value", "interval", "reason"}: value None and a reason when it is
    undefined; an oracle retains 100 % of itself by definition, without an interval.
    """
    if oracle == "none":
        return _undefined("has no oracle")
    if run not in ap:
        return _undefined("masks in given boxes have no AP")
    if run == oracle:
        return {"value": 100.0, "interval": None, "reason": ""}
    if oracle not in ap:
        return _undefined(f"its oracle {oracle} was not evaluated, or has no AP")
    if math.isnan(ap[run]) or math.isnan(ap[oracle]):
        return _undefined("AP is undefined: there are no objects")
    if ap[oracle] <= 0:
        return _undefined(f"the AP of its oracle {oracle} is 0")
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = 100.0 * (resampled[run] / resampled[oracle])
    return {"value": 100.0 * (ap[run] / ap[oracle]), "interval": interval(ratios), "reason": ""}


def _undefined(reason: str) -> dict[str, Any]:
    return {"value": None, "interval": None, "reason": reason}
