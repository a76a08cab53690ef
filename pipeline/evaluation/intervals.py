"""Bootstrap intervals over images, from matches that are made once.

Drawing images with replacement is the same as giving every image a whole-number weight, so AP of a
resample is a weighted sum over detections that are already matched and sorted.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.coco import RECALLS, THRESHOLDS
from pipeline.evaluation.matches import Matches

Weights = NDArray[np.int32]  # (images, samples): how often each image was drawn in each resample
Floats = NDArray[np.float64]

CHUNK_VALUES = 1 << 20  # detections x samples in work at a time: about 8 MiB per array
PORTION_VALUES = 1 << 22  # images x samples drawn at a time: 16 MiB, and 32 MiB as floats
VECTOR = 16  # samples: a portion of whole vectors is summed up with the rounding of all samples at once


def resample_images(images: int, samples: int, seed: int) -> Weights:
    """(images, samples) counts of `samples` draws of all images with replacement (Efron, 1979).

    The same arguments give the same draws, so figures of several runs over the same images are paired.
    """
    counts = np.empty((images, samples), dtype=np.int32)
    generator = np.random.default_rng(seed)
    for sample in range(samples):
        counts[:, sample] = _drawn(generator, images)
    return counts


def bootstrap(figures: Callable[[Weights], Floats], images: int, samples: int, seed: int) -> Floats:
    """(..., samples): `figures`, (..., n) of weights (images, n), of the draws that `resample_images` gives.

    They are drawn and used a portion at a time, so memory does not grow with the number of samples.
    """
    generator, parts = np.random.default_rng(seed), []
    step = max(VECTOR, PORTION_VALUES // max(1, images) // VECTOR * VECTOR)
    for start in range(0, samples, step):
        portion = [_drawn(generator, images) for _ in range(start, min(start + step, samples))]
        parts.append(figures(np.stack(portion, axis=1)))
    return np.concatenate(parts, axis=-1)


def _drawn(generator: np.random.Generator, images: int) -> NDArray[np.int32]:
    """(images,): how often each image is drawn in the generator's next resample."""
    drawn = generator.integers(images, size=images) if images else np.empty(0, dtype=np.int64)
    return np.bincount(drawn, minlength=images).astype(np.int32)


def weighted_ap(matches: Matches, weights: Weights) -> Floats:
    """(samples, 10) AP in percent per IoU threshold, with every image counted `weights` times.

    The mean over thresholds is COCO's AP, column 0 is AP50.  A category without objects in a resample is
    left out of that resample's mean, as in COCO; NaN if none has objects, and for a run that does not
    detect.  With weights of 1 the result is the evaluator's to rounding.
    """
    if not matches.detects:
        return np.full((weights.shape[1], len(THRESHOLDS)), np.nan)
    total = np.zeros((weights.shape[1], len(THRESHOLDS)))
    present = np.zeros(weights.shape[1], dtype=np.int64)
    starts = np.searchsorted(matches.detection_category, np.arange(len(matches.category_ids) + 1))
    for category in range(len(matches.category_ids)):
        objects = weights[matches.object_image[matches.object_category == category]].sum(axis=0)
        rows = slice(starts[category], starts[category + 1])
        total += np.where(objects[:, None] > 0, _category_ap(matches, rows, weights, objects), 0.0)
        present += objects > 0
    with np.errstate(invalid="ignore"):
        return 100.0 * total / np.where(present, present, np.nan)[:, None]


def _category_ap(matches: Matches, rows: slice, weights: Weights, objects: NDArray[np.int64]) -> Floats:
    """(samples, 10) AP in [0, 1] of the detections `rows`; objects: (samples,) weighted number of objects."""
    samples = weights.shape[1]
    result = np.zeros((samples, len(THRESHOLDS)))
    images = matches.detection_image[rows]
    positive, ignored = matches.true_positive[rows], matches.ignored[rows]
    step = max(1, CHUNK_VALUES // max(1, len(images)))
    for start in range(0, samples, step):
        chunk = slice(start, start + step)
        drawn = weights[:, chunk][images]
        seen = drawn.cumsum(axis=0, dtype=np.int32)
        for index in range(len(THRESHOLDS)):
            result[chunk, index] = _curve_area(
                drawn,
                seen,
                np.flatnonzero(positive[:, index]),
                np.flatnonzero(ignored[:, index]),
                objects[chunk],
            )
    return result


def _curve_area(
    drawn: Weights,
    seen: Weights,
    hits: NDArray[np.intp],
    ignored: NDArray[np.intp],
    objects: NDArray[np.int64],
) -> Floats:
    """(samples,) mean of the interpolated precision at the 101 recalls, at one IoU threshold.

    drawn: (n, samples) weight of every detection, best score first; seen: its running sum; hits, ignored:
    rows of true positives and of detections on crowds.  Only hits move the recall and only they can be
    peaks of the precision curve, and of a hit that was drawn several times the last copy is the peak:
    the curve is needed at hits alone, after all their copies.
    """
    if not len(hits):
        return np.zeros(drawn.shape[1])
    found = drawn[hits].cumsum(axis=0, dtype=np.int32)
    counted = seen[hits]
    if len(ignored):
        passed = np.vstack([np.zeros_like(drawn[:1]), drawn[ignored].cumsum(axis=0, dtype=np.int32)])
        counted = counted - passed[np.searchsorted(ignored, hits)]
    precision = found / (counted + np.spacing(1))
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    reached = np.searchsorted(RECALLS, found / np.maximum(objects, 1), side="right")
    covered = np.diff(reached, axis=0, prepend=0)
    return np.asarray((envelope * covered).sum(axis=0) / len(RECALLS))


def weighted_mask_iou(matches: Matches, weights: Weights) -> Floats:
    """(samples,) mean mask IoU of objects in percent, with images counted `weights` times; NaN if unknown."""
    return weighted_mean(matches.object_iou, matches.object_image, weights)


def weighted_mean(values: Floats, images: NDArray[np.integer], weights: Weights) -> Floats:
    """(samples,) mean in percent of the (N,) `values` of objects, with images counted `weights` times.

    images: (N,) the row of `weights` that each object belongs to.  NaN in a resample without objects.
    """
    count = len(weights)
    number = np.bincount(images, minlength=count)
    summed = np.bincount(images, values, minlength=count)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(100.0 * (summed @ weights) / (number @ weights))


def interval(values: Floats, level: float = 0.95) -> list[float] | None:
    """[low, high] percentiles of bootstrap `values` (samples,); None when one of them is undefined.

    A figure that some resamples do not have (no objects drawn) has no honest interval.
    """
    if not values.size or not np.isfinite(values).all():
        return None
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return [float(low), float(high)]
