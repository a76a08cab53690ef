"""A baseline as a row of the comparison: a run's boxes and scores with other masks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline import params
from pipeline.data.masks import Rle, encode
from pipeline.engine.parallel import HERE, map_images
from pipeline.methods.baselines import ellipse, fill, grabcut, two_means
from pipeline.methods.baselines.box_masks import Masks, MasksFromBoxes

EachMask = Callable[[NDArray[np.uint8], NDArray[np.float64]], Iterable[Masks]]

WITHOUT_SETTINGS: dict[str, MasksFromBoxes] = {
    "fill": fill.masks_from_boxes,
    "ellipse": ellipse.masks_from_boxes,
    "two_means": two_means.masks_from_boxes,
}


class Images(Protocol):
    """Where images come from; an ImageStore is one.  Must be picklable."""

    def read(self, image_id: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB."""
        ...


class _Job(NamedTuple):
    """The boxes of one image: (N, 4) xyxy."""

    image_id: int
    boxes: NDArray[np.float64]


def each_mask(baseline: params.Baseline) -> EachMask:
    """The function image (H, W, 3) uint8 RGB, boxes (N, 4) xyxy -> N masks (H, W) bool of one baseline.

    They come one by one, since the masks of a large image with 100 boxes are 100 large arrays.  Picklable,
    but for SAM's.  Raises UserError when SAM's weights cannot be used.
    """
    if baseline.kind == "sam":
        from pipeline.methods.baselines.sam import Sam  # takes seconds, which the others need not wait

        return Sam(Path(baseline.weights), baseline.device).each_mask
    if baseline.kind == "grabcut":
        return partial(_box_by_box, partial(grabcut.masks_from_boxes, iterations=baseline.iterations))
    if baseline.kind == "crf":
        from pipeline.methods.baselines import crf  # loads PyTorch, which takes a second

        start = WITHOUT_SETTINGS[baseline.start]
        return partial(_box_by_box, partial(crf.masks_from_boxes, start=start, settings=baseline))
    return partial(_box_by_box, WITHOUT_SETTINGS[baseline.kind])


def _box_by_box(
    method: MasksFromBoxes, image: NDArray[np.uint8], boxes: NDArray[np.float64]
) -> Iterator[Masks]:
    for box in boxes:
        yield method(image, box[None])[0]


def apply_baseline(
    baseline: params.Baseline,
    store: Images,
    detections: list[dict[str, Any]],
    labels: dict[str, Any],
    executor: params.Executor = HERE,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Give a run's detections, and the ground-truth boxes of val, a baseline's masks.

    detections: COCO results, of which image_id, category_id, bbox and score are kept; labels: the box
    label file of val (COCO json), in which crowd regions are no objects and get no mask.  Returns detections
    in their order and entries {annotation_id, image_id, segmentation} in the order of the annotations.  The
    number of processes and the executor do not change the result; SAM works in this process alone.
    """
    annotations = [row for row in labels["annotations"] if not row.get("iscrowd")]
    records = [*detections, *annotations]
    rows: dict[int, list[int]] = defaultdict(list)
    for row, record in enumerate(records):
        rows[record["image_id"]].append(row)
    jobs = [_Job(image, _xyxy([records[row]["bbox"] for row in rows[image]])) for image in sorted(rows)]
    work = partial(_encoded, store, each_mask(baseline))
    processes, where = (1, HERE) if baseline.kind == "sam" else (baseline.processes, executor)
    masks: dict[int, Rle] = {}
    results = map_images(work, jobs, processes, baseline.title, where)
    for job, encoded in zip(jobs, results, strict=True):
        masks.update(zip(rows[job.image_id], encoded, strict=True))
    kept = ("image_id", "category_id", "bbox", "score")
    found = [
        {key: detection[key] for key in kept} | {"segmentation": masks[row]}
        for row, detection in enumerate(detections)
    ]
    given = [
        {"annotation_id": annotation["id"], "image_id": annotation["image_id"], "segmentation": masks[row]}
        for row, annotation in enumerate(annotations, start=len(detections))
    ]
    return found, given


def _xyxy(boxes: list[list[float]]) -> NDArray[np.float64]:
    """COCO's [x, y, width, height] -> (N, 4) xyxy."""
    values = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    return np.concatenate([values[:, :2], values[:, :2] + values[:, 2:]], axis=1)


def _encoded(store: Images, method: EachMask, job: _Job) -> list[Rle]:
    """The masks of one image's boxes."""
    return [encode(mask[None])[0] for mask in method(store.read(job.image_id), job.boxes)]
