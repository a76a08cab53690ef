"""COCO's AP of masks and boxes, in percent."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.coco import CocoEvaluation
from pipeline.evaluation.results import percent

Figures = dict[str, float | None]


def ap_figures(evaluation: CocoEvaluation) -> Figures:
    """AP, AP50, AP75 and AP by object size (APs, APm, APl), in percent; None without such objects.

    Each is the mean of the interpolated precision over recalls, categories and, but for AP50 and AP75,
    the ten IoU thresholds from 0.5 to 0.95.
    """
    everything = evaluation.precision[..., 0]
    figures = {
        "AP": mean_precision(everything),
        "AP50": mean_precision(everything[0]),
        "AP75": mean_precision(everything[5]),
    }
    for index, name in enumerate(("APs", "APm", "APl"), start=1):
        figures[name] = mean_precision(evaluation.precision[..., index])
    return {name: percent(value) for name, value in figures.items()}


def ap_by_category(evaluation: CocoEvaluation, names: dict[int, str]) -> Figures:
    """Category name -> AP in percent; None for a category without objects."""
    return {
        names[category]: percent(mean_precision(evaluation.precision[:, :, index, 0]))
        for index, category in enumerate(evaluation.category_ids)
    }


def mean_precision(values: NDArray[np.float64]) -> float:
    """Mean over what is defined of a part of `CocoEvaluation.precision`, in [0, 1]; NaN if nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # "mean of empty slice": NaN is what we want
        return float(np.nanmean(values)) if values.size else float("nan")
