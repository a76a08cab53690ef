"""How good label maps of training images are: seeds and pseudo-labels against the ground truth."""

from __future__ import annotations

from pipeline import params
from pipeline.data.packs import Pack
from pipeline.engine.parallel import HERE
from pipeline.evaluation.results import percent
from pipeline.evaluation.semantic import Metrics, check_classes, map_figures, semantic_intervals
from pipeline.evaluation.semantic_counts import SemanticCounts, count_images

_NOBODY = "unlabelled"  # stands for one more class, which no pixel of the ground truth is of


def score_label_maps(
    truth: Pack, maps: Pack, settings: params.EvaluateSemantic, executor: params.Executor = HERE
) -> tuple[Metrics, SemanticCounts]:
    """Score the partial label maps of a label set; returns figures in percent and the counts behind them.

    truth: label maps of these images, and maybe of others, with `about` {"classes": names by index};
    executor: see map_images.
    Figures: images; labelled, the share of the pixels with ground truth that the maps label;
    labelled_accuracy, the share of these that are right; mIoU and boundary_mIoU, for which a pixel without a
    label is missed by the class it is of; per_class; interval {figure: 95 % over images}.  One that is
    undefined is None.  Raises UserError as `count_images`, and for maps of other classes.
    """
    names = check_classes(truth, [maps])
    counts = count_images(
        truth, maps, None, settings.boundary_dilation, settings.processes, executor, partial_maps=True
    )
    total = counts.plain.confusion.sum(axis=0)
    pixels, labelled = int(total.sum()), int(total[:, :-1].sum())
    figures = map_figures(counts.plain, [*names, _NOBODY])
    for kind in figures["per_class"].values():
        del kind[_NOBODY]
    return {
        "images": len(counts.image_ids),
        "labelled": percent(labelled / pixels if pixels else float("nan")),
        "labelled_accuracy": percent(int(total.trace()) / labelled if labelled else float("nan")),
        **{name: figures[name] for name in ("mIoU", "boundary_mIoU", "per_class")},
        "interval": semantic_intervals({0: counts}, settings),
    }, counts
