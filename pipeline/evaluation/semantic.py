"""Figures of semantic segmentation: mean IoU over classes, along boundaries too, and what a dense CRF adds.

All figures are in percent; one that is undefined is None (JSON null).

A class without a pixel in the ground truth has no IoU that says anything of the network.  `mIoU`, the
headline figure, is therefore the mean over the classes that the ground truth has; pixels that are wrongly
predicted as another class still count against the class they are of.  `mIoU_strict` is the mean over all
classes, those absent from the ground truth as 0, as SPML's release computes it.  Where all classes occur, as
in VOC's val, the two are the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import params
from pipeline.data.packs import Pack, encode_map, write_pack
from pipeline.engine.parallel import HERE
from pipeline.errors import UserError
from pipeline.evaluation.intervals import Floats, Weights, bootstrap, interval
from pipeline.evaluation.picking import pick_images
from pipeline.evaluation.results import defined, mean_over_seeds
from pipeline.evaluation.semantic_counts import REMEDY, MapCounts, SemanticCounts, count_images
from pipeline.files import replacing_folder

Metrics = dict[str, Any]
SeedCounts = dict[int, SemanticCounts]  # seed -> what was counted of the model trained with it

FIGURES = ("mIoU", "boundary_mIoU", "mIoU_crf", "boundary_mIoU_crf", "crf_gain")


def evaluate_semantic(
    truth: Pack,
    plain: Pack,
    crf: Pack | None,
    settings: params.EvaluateSemantic,
    executor: params.Executor = HERE,
) -> tuple[Metrics, SemanticCounts]:
    """Evaluate one seed's label maps; returns its figures and the counts that the bootstrap needs.

    truth: label maps with `about` {"classes": names by index}; plain, crf: predicted maps without and with
    a dense CRF; executor: see map_images.  Metrics: headline, images, pixels (those with ground truth), mIoU,
    mIoU_strict, boundary_mIoU, pixel_accuracy, per_class {IoU, boundary_IoU: class -> figure}; crf {the same
    five} and crf_gain (mIoU with minus without) if there are refined maps; interval {figure: 95 % over
    images}; not_computed: one line for all classes without ground truth, if there are any.  Raises UserError
    as `count_images`, and for predictions of other classes.
    """
    names = check_classes(truth, [plain] if crf is None else [plain, crf])
    counts = count_images(truth, plain, crf, settings.boundary_dilation, settings.processes, executor)
    metrics: Metrics = {
        "headline": "mIoU",
        "images": len(counts.image_ids),
        "pixels": int(counts.plain.confusion.sum()),
        **map_figures(counts.plain, names),
    }
    if counts.crf is not None:
        metrics["crf"] = map_figures(counts.crf, names)
        metrics["crf_gain"] = _difference(metrics["crf"]["mIoU"], metrics["mIoU"])
    present = counts.plain.confusion.sum(axis=(0, 2)) > 0
    absent = [name for name, known in zip(names, present, strict=True) if not known]
    metrics["not_computed"] = [_without_truth(absent)] if absent else []
    metrics["interval"] = semantic_intervals({0: counts}, settings)
    return metrics, counts


def summarise_semantic(
    metrics: dict[int, Metrics], counts: SeedCounts, settings: params.EvaluateSemantic
) -> Metrics:
    """The figures of a run with several seeds, in the layout of `evaluate_semantic`.

    Every number is the mean over seeds; intervals are bootstrapped for that mean; `seeds` holds the headline
    figure of every seed with smallest, largest and standard deviation, `per_seed` the metrics of each.
    """
    summary = mean_over_seeds(metrics) | {"seeds": semantic_spread(counts)}
    if len(metrics) > 1:
        summary["interval"] = semantic_intervals(counts, settings)
    return summary


def semantic_spread(counts: SeedCounts) -> dict[str, Any]:
    """mIoU of every seed, and its smallest, largest and standard deviation, which one seed does not have."""
    values = {seed: float(mean_ious(one.plain)) for seed, one in sorted(counts.items())}
    figures = np.asarray(list(values.values()))
    return {
        "mIoU": {str(seed): defined(value) for seed, value in values.items()},
        "min": defined(figures.min()),
        "max": defined(figures.max()),
        "std": defined(figures.std(ddof=1)) if len(figures) > 1 else None,
    }


def semantic_intervals(
    counts: SeedCounts, settings: params.EvaluateSemantic
) -> dict[str, list[float] | None]:
    """Figure -> its 95 % bootstrap interval over images, of the mean over seeds."""
    images = len(next(iter(counts.values())).image_ids)
    names = list(seed_figures(counts, np.ones((images, 1), dtype=np.int32)))

    def drawn(weights: Weights) -> Floats:
        return np.stack(list(seed_figures(counts, weights).values()))

    values = bootstrap(drawn, images, settings.bootstrap_samples, settings.bootstrap_seed)
    return dict(zip(names, map(interval, values), strict=True))


def seed_figures(counts: SeedCounts, weights: Weights) -> dict[str, Floats]:
    """Those of FIGURES that all seeds have, each (samples,): the mean over seeds under image `weights`."""
    every = list(counts.values())
    refined = [one.crf for one in every if one.crf is not None]
    kinds = {"": [one.plain for one in every], "_crf": refined if len(refined) == len(every) else []}
    figures: dict[str, Floats] = {}
    for suffix, seeds in kinds.items():
        if seeds:
            ious = [weighted_ious(one, weights) for one in seeds]
            figures[f"mIoU{suffix}"] = np.mean([_mean(own) for own, _ in ious], axis=0)
            figures[f"boundary_mIoU{suffix}"] = np.mean([_mean(near) for _, near in ious], axis=0)
    if "mIoU_crf" in figures:
        figures["crf_gain"] = figures["mIoU_crf"] - figures["mIoU"]
    return figures


def weighted_ious(counts: MapCounts, weights: Weights) -> tuple[Floats, Floats]:
    """(samples, C) IoU of the classes in percent, and of their boundaries.

    Images are counted `weights` times.  NaN for a class that the ground truth of a resample does not have.
    """
    drawn = weights.T.astype(np.float64)
    hits = drawn @ counts.confusion.diagonal(axis1=1, axis2=2)
    truth, found = drawn @ counts.confusion.sum(axis=2), drawn @ counts.confusion.sum(axis=1)
    inside, either = drawn @ counts.boundary[:, 0], drawn @ counts.boundary[:, 1]
    absent = truth == 0
    with np.errstate(invalid="ignore", divide="ignore"):
        return tuple(  # type: ignore[return-value]
            np.where(absent, np.nan, 100.0 * part / whole)
            for part, whole in ((hits, truth + found - hits), (inside, either))
        )


def mean_ious(counts: MapCounts) -> NDArray[np.float64]:
    """() mIoU in percent of all images."""
    return np.asarray(_mean(weighted_ious(counts, _once(counts))[0])[0])


def image_quality(counts: SemanticCounts) -> dict[int, float]:
    """Image id -> mean IoU in percent over the classes that its ground truth has; without images of none."""
    each = np.eye(len(counts.image_ids), dtype=np.int32)
    values = _mean(weighted_ious(counts.plain, each)[0])
    pairs = zip(counts.image_ids.tolist(), values.tolist(), strict=True)
    return {image: value for image, value in pairs if np.isfinite(value)}


def write_shown_truth(truth: Pack, counts: SemanticCounts, count: int, folder: Path) -> None:
    """Keep the ground truth of the images that a gallery of `count` each shows (`pick_images`) as a pack."""
    shown = sorted(pick_images(image_quality(counts), count))
    with replacing_folder(folder) as temporary:
        write_pack(temporary, ((image, encode_map(truth.read(image))) for image in shown), truth.about)


def map_figures(counts: MapCounts, names: list[str]) -> Metrics:
    """mIoU, mIoU_strict, boundary_mIoU, pixel_accuracy and per_class of all images, as evaluate_semantic."""
    ious, near = (values[0] for values in weighted_ious(counts, _once(counts)))
    total = counts.confusion.sum(axis=0)
    pixels = total.sum()
    return {
        "mIoU": defined(float(_mean(ious[None])[0])),
        "mIoU_strict": float(np.nan_to_num(ious).mean()) if pixels else None,
        "boundary_mIoU": defined(float(_mean(near[None])[0])),
        "pixel_accuracy": float(100.0 * total.trace() / pixels) if pixels else None,
        "per_class": {
            "IoU": dict(zip(names, map(defined, ious.tolist()), strict=True)),
            "boundary_IoU": dict(zip(names, map(defined, near.tolist()), strict=True)),
        },
    }


def _once(counts: MapCounts) -> Weights:
    return np.ones((len(counts.confusion), 1), dtype=np.int32)


def _mean(ious: Floats) -> Floats:
    """(samples, C) -> (samples,): the mean over the classes that have one; NaN without any."""
    known = np.isfinite(ious)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, ious, 0.0).sum(axis=1) / known.sum(axis=1))


def _without_truth(classes: list[str]) -> str:
    """Why these classes have no IoU."""
    *others, last = classes
    if not others:
        return f"IoU of {last}: no pixel of it in the ground truth"
    return f"IoU of {', '.join(others)} and {last}: no pixel of them in the ground truth"


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def check_classes(truth: Pack, predictions: list[Pack]) -> list[str]:
    """The names of the classes; raises UserError if a prediction was made for other ones."""
    names = [str(name) for name in truth.about["classes"]]
    for pack in predictions:
        own = pack.about.get("classes", names)
        if list(own) != names:
            raise UserError(
                pack.folder,
                "",
                f"is of the classes {', '.join(map(str, own))}, not {', '.join(names)}",
                REMEDY,
            )
    return names
