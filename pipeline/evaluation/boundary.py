"""Boundary AP (Cheng et al., Boundary IoU, CVPR 2021, arXiv 2103.16562), in percent."""

from __future__ import annotations

from pipeline.evaluation.coco import evaluate_coco
from pipeline.evaluation.instances import Figures, ap_figures
from pipeline.evaluation.results import Annotations, Detection


def boundary_figures(
    annotations: Annotations,
    detections: list[Detection],
    max_detections: int,
    dilation: float,
    processes: int = 1,
    *,
    lvis: bool = False,
) -> Figures:
    """AP, AP50 and AP75 with min(mask IoU, boundary IoU) as the overlap (section 4 of the paper).

    The boundary of a mask is those of its pixels that are closer than `dilation` x the image diagonal
    (rounded to whole pixels, at least 1) to its outside; beyond the image counts as outside.  For crowds
    the overlap stays that of the masks.  Nearly all of a small object is boundary, so AP by size says little.
    lvis: as for `evaluate_coco`.
    """
    evaluation = evaluate_coco(
        annotations,
        detections,
        "boundary",
        max_detections,
        lvis=lvis,
        boundary_dilation=dilation,
        processes=processes,
    )
    figures = ap_figures(evaluation)
    return {name: figures[name] for name in ("AP", "AP50", "AP75")}
