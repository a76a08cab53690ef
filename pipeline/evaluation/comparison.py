"""All runs against each other over the same resampled images: figures, spread, retention, differences."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.evaluation.intervals import (
    Floats,
    Weights,
    interval,
    resample_images,
    weighted_ap,
    weighted_mask_iou,
)
from pipeline.evaluation.matches import Matches
from pipeline.evaluation.results import defined
from pipeline.evaluation.retention import retention

SeedMatches = dict[int, Matches]  # seed -> the matches of the model trained with it

NOTE = (
    "Intervals are 95 % bootstrap intervals over images. They do not hold the noise of training: between"
    " seeds of one setting, differences of about 3 AP were measured at demo scale. Rows with one seed"
    " say nothing about it."
)


def compare(runs: dict[str, SeedMatches], oracles: dict[str, str], samples: int, seed: int) -> dict[str, Any]:
    """Compare runs that were evaluated on the same images; all figures in percent, ready for JSON.

    runs: run -> seed -> matches; oracles: run -> its oracle's name, or "none".  A figure of a run is the
    mean over its seeds, in every resample too.  `differences` are of AP, between all pairs of runs that
    detect; `mask_iou_differences` are between all pairs of runs that have mask IoU, whatever their task.  A
    difference is `within_noise` when its interval holds 0, and None when there is no interval.  A run that
    gives masks to given boxes has no AP and no retention (None, with the reason), and `headline` mask_iou.
    Raises UserError when runs were evaluated on different images.
    """
    images = common_images(runs)
    weights = resample_images(images, samples, seed)
    everything = np.ones((images, 1), dtype=np.int32)
    points = {run: mean_figures(seeds, everything) for run, seeds in runs.items()}
    resampled = {run: mean_figures(seeds, weights) for run, seeds in runs.items()}
    headlines = {run: _headline(seeds) for run, seeds in runs.items()}
    ap = {run: float(points[run]["AP"][0]) for run, headline in headlines.items() if headline == "AP"}
    drawn = {run: resampled[run]["AP"] for run in ap}
    rows = {
        run: {name: defined(values[0]) for name, values in points[run].items()}
        | {
            "interval": {name: interval(values) for name, values in resampled[run].items()},
            "headline": headlines[run],
            "seeds": seed_spread(seeds),
            "oracle": oracles[run],
            "retention": retention(run, oracles[run], ap, drawn),
        }
        for run, seeds in runs.items()
    }
    measured = [run for run, figures in points.items() if np.isfinite(figures["mask_iou"]).all()]
    return {
        "runs": rows,
        "differences": [difference(*pair, "AP", points, resampled) for pair in combinations(ap, 2)],
        "mask_iou_differences": [
            difference(*pair, "mask_iou", points, resampled) for pair in combinations(measured, 2)
        ],
        "images": images,
        "bootstrap_samples": samples,
        "bootstrap_seed": seed,
        "note": NOTE,
    }


def mean_figures(seeds: SeedMatches, weights: Weights) -> dict[str, Floats]:
    """AP, AP50 and mask_iou, each (samples,) in percent: the mean over seeds under image `weights`."""
    ap = np.mean([weighted_ap(matches, weights) for matches in seeds.values()], axis=0)
    iou = np.mean([weighted_mask_iou(matches, weights) for matches in seeds.values()], axis=0)
    return {"AP": ap.mean(axis=1), "AP50": ap[:, 0], "mask_iou": iou}


def seed_spread(seeds: SeedMatches) -> dict[str, Any]:
    """The headline figure of every seed, and their smallest, largest and standard deviation.

    The values are called AP or mask_iou, as the figure; the deviation of a single seed is None.
    """
    headline = _headline(seeds)
    values = {}
    for seed, matches in sorted(seeds.items()):
        everything = np.ones((len(matches.image_ids), 1), dtype=np.int32)
        values[seed] = float(mean_figures({seed: matches}, everything)[headline][0])
    figures = np.asarray(list(values.values()))
    return {
        headline: {str(seed): defined(value) for seed, value in values.items()},
        "min": defined(figures.min()),
        "max": defined(figures.max()),
        "std": defined(figures.std(ddof=1)) if len(figures) > 1 else None,
    }


def _headline(seeds: SeedMatches) -> str:
    return next(iter(seeds.values())).headline


Figures = dict[str, dict[str, Floats]]  # run -> what `mean_figures` gives


def difference(a: str, b: str, figure: str, points: Figures, resampled: Figures) -> dict[str, Any]:
    """`figure` of a minus that of b, paired: both runs see the same images in every resample."""
    limits = interval(resampled[a][figure] - resampled[b][figure])
    return {
        "a": a,
        "b": b,
        figure: defined(points[a][figure][0] - points[b][figure][0]),
        "interval": limits,
        "within_noise": None if limits is None else limits[0] <= 0 <= limits[1],
    }


class Evaluated(Protocol):
    """What was counted of a run, image by image."""

    @property
    def image_ids(self) -> NDArray[np.int64]:
        """(I,) ascending."""


def common_images(runs: Mapping[str, Mapping[int, Evaluated]]) -> int:
    """How many images all runs and seeds were evaluated on, 0 without any run.

    Raises UserError if they were not the same.
    """
    every = [(run, matches.image_ids) for run, seeds in runs.items() for matches in seeds.values()]
    if not every:
        return 0
    first, reference = every[0]
    for run, ids in every[1:]:
        if not np.array_equal(ids, reference):
            raise UserError(run, "", f"was evaluated on other images than {first}", "run `dvc repro`")
    return len(reference)
