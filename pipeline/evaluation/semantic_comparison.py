"""All runs of semantic segmentation against each other over the same resampled images."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from pipeline.evaluation.comparison import common_images, difference
from pipeline.evaluation.intervals import interval, resample_images
from pipeline.evaluation.results import defined
from pipeline.evaluation.retention import retention
from pipeline.evaluation.semantic import SeedCounts, seed_figures, semantic_spread
from pipeline.evaluation.semantic_counts import SemanticCounts

COMPARED = ("mIoU", "mIoU_crf")  # figures with retention and differences


def compare_semantic(
    runs: dict[str, SeedCounts], oracles: dict[str, str], samples: int, seed: int
) -> dict[str, Any]:
    """Compare runs that were evaluated on the same images; all figures in percent, ready for JSON.

    runs: run -> seed -> counts; oracles: run -> its oracle's name, or "none".  A figure of a run is the mean
    over its seeds, in every resample too.  Each of `runs` has its figures, their interval, the spread over
    seeds, oracle, retention (of mIoU) and retention_crf (of mIoU_crf); `differences` are of mIoU, and
    `crf_differences` of mIoU_crf, between all pairs of runs that have it.  Raises UserError when runs were
    evaluated on different images.
    """
    images = common_images(runs)
    weights = resample_images(images, samples, seed)
    everything = np.ones((images, 1), dtype=np.int32)
    points = {run: seed_figures(counts, everything) for run, counts in runs.items()}
    resampled = {run: seed_figures(counts, weights) for run, counts in runs.items()}
    having = {figure: [run for run in runs if figure in points[run]] for figure in COMPARED}
    values = {figure: {run: float(points[run][figure][0]) for run in having[figure]} for figure in COMPARED}
    drawn = {figure: {run: resampled[run][figure] for run in having[figure]} for figure in COMPARED}

    def kept(run: str, figure: str) -> dict[str, Any]:
        return retention(run, oracles[run], values[figure], drawn[figure], figure)

    rows = {
        run: {name: defined(figures[0]) for name, figures in points[run].items()}
        | {
            "interval": {name: interval(figures) for name, figures in resampled[run].items()},
            "headline": "mIoU",
            "seeds": semantic_spread(counts),
            "oracle": oracles[run],
            "retention": kept(run, "mIoU"),
            "retention_crf": kept(run, "mIoU_crf"),
        }
        for run, counts in runs.items()
    }
    plain, refined = (
        [difference(*pair, figure, points, resampled) for pair in combinations(having[figure], 2)]
        for figure in COMPARED
    )
    return {
        "runs": rows,
        "differences": plain,
        "crf_differences": refined,
        "images": images,
        "bootstrap_samples": samples,
        "bootstrap_seed": seed,
    }


def compare_label_maps(maps: dict[str, SemanticCounts], samples: int, seed: int) -> dict[str, Any]:
    """Compare label sets that were scored on training images: figures, intervals, differences.

    maps: label set -> its counts.  In the layout of `compare_semantic`, of mIoU alone and without oracles:
    whether pseudo-labels are better than the seeds that they were made of.  Sets of different shares of the
    images have their own figures, but no difference: nothing is resampled together.
    """
    alike: dict[bytes, dict[str, SeedCounts]] = {}
    for name, counts in maps.items():
        alike.setdefault(counts.image_ids.tobytes(), {})[name] = {0: counts}
    compared = [
        compare_semantic(group, dict.fromkeys(group, "none"), samples, seed) for group in alike.values()
    ]
    rows = {
        name: {key: row[key] for key in ("mIoU", "boundary_mIoU", "interval")} | {"images": of["images"]}
        for of in compared
        for name, row in of["runs"].items()
    }
    return {
        "sets": {name: rows[name] for name in maps},
        "differences": [one for of in compared for one in of["differences"]],
    }
