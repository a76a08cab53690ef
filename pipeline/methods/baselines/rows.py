"""A baseline as a row of the comparison: a run's boxes and scores with other masks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from multiprocessing import get_context
from typing import Any, Literal, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from pipeline.methods.baselines import fill, grabcut
from pipeline.methods.baselines.box_masks import Masks

MasksFromBoxes = Callable[[NDArray[np.uint8], NDArray[np.float64]], Masks]


class Images(Protocol):
    """Where images come from; an ImageStore is one.  Must be picklable."""

    def read(self, image_id: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB."""
        ...


class _Job(NamedTuple):
    """The boxes of one image: (N, 4) xyxy."""

    image_id: int
    boxes: NDArray[np.float64]


def masks_from_boxes(kind: Literal["fill", "grabcut"], iterations: int) -> MasksFromBoxes:
    """The function image (H, W, 3) uint8 RGB, boxes (N, 4) xyxy -> (N, H, W) bool of one baseline."""
    if kind == "grabcut":
        return partial(grabcut.masks_from_boxes, iterations=iterations)
    return fill.masks_from_boxes


def apply_baseline(
    kind: Literal["fill", "grabcut"],
    iterations: int,
    store: Images,
    detections: list[dict[str, Any]],
    labels: dict[str, Any],
    processes: int,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Give a run's detections, and the ground-truth boxes of val, a baseline's masks.

    detections: COCO results, of which image_id, category_id, bbox and score are kept; labels: the box
    label file of val (COCO json).  Returns detections in their order and entries {annotation_id, image_id,
    segmentation} in the order of the annotations.  The number of processes does not change the result.
    """
    annotations = labels["annotations"]
    records = [*detections, *annotations]
    rows: dict[int, list[int]] = defaultdict(list)
    for row, record in enumerate(records):
        rows[record["image_id"]].append(row)
    jobs = [_Job(image, _xyxy([records[row]["bbox"] for row in rows[image]])) for image in sorted(rows)]
    work = partial(_encode_masks, store, masks_from_boxes(kind, iterations))
    masks: dict[int, dict[str, Any]] = {}
    for job, encoded in zip(jobs, _map(work, jobs, processes), strict=True):
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


def _encode_masks(store: Images, method: MasksFromBoxes, job: _Job) -> list[dict[str, Any]]:
    """The masks of one image's boxes as compressed RLE."""
    encoded = []
    image = store.read(job.image_id)
    for box in job.boxes:  # one at a time: masks of a large image with 100 boxes are 100 large arrays
        mask = method(image, box[None])[0]
        rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
        encoded.append({"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")})
    return encoded


def _map(
    work: Callable[[_Job], list[dict[str, Any]]], jobs: Iterable[_Job], processes: int
) -> Iterator[list[dict[str, Any]]]:
    """Results in the order of `jobs`, from a pool of `processes`, or from this process if that is 1."""
    if processes == 1:
        yield from map(work, jobs)
        return
    # spawn: a fork after torch or OpenCV started threads can hang
    with get_context("spawn").Pool(processes, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield from pool.imap(work, jobs, chunksize=8)
