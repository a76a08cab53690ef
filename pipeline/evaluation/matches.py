"""What AP and mask IoU need of every image, so that they can be computed again fast."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.evaluation.coco import THRESHOLDS, CocoEvaluation
from pipeline.evaluation.results import Annotations, Detection, objects
from pipeline.files import read_arrays, write_arrays


@dataclass(frozen=True)
class Matches:
    """The outcome of COCO's matching of one run's detections, and the mask IoU of every object.

    D detections (those within the limit per image and category), N objects (crowds left out), 10 IoU
    thresholds.  Images and categories are given by their position in image_ids and category_ids.
    Detections are sorted by category, then best score first, ties in the order of COCO's evaluation.  A
    run that gives masks to given boxes detects nothing, which is not the same as finding nothing: it has
    no AP, and an AP of 0 would be wrong.
    """

    image_ids: NDArray[np.int64]  # (I,) ascending
    category_ids: NDArray[np.int64]  # (K,) ascending
    detection_image: NDArray[np.int32]  # (D,)
    detection_category: NDArray[np.int32]  # (D,)
    detection_score: NDArray[np.float64]  # (D,)
    true_positive: NDArray[np.bool_]  # (D, 10) matched to an object
    ignored: NDArray[np.bool_]  # (D, 10) on a crowd, or LVIS's incomplete class: neither right nor wrong
    object_image: NDArray[np.int32]  # (N,)
    object_category: NDArray[np.int32]  # (N,)
    object_iou: NDArray[np.float64]  # (N,) IoU in [0, 1] of the mask given for its box; NaN if unknown
    detects: NDArray[np.bool_]  # () whether the run detects objects at all

    @property
    def headline(self) -> Literal["AP", "mask_iou"]:
        """The figure that the run is compared by."""
        return "AP" if self.detects else "mask_iou"

    def save(self, path: Path) -> None:
        """Write as .npz; equal values give equal bytes."""
        write_arrays(path, {item.name: getattr(self, item.name) for item in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Matches:
        """Read what `save` wrote.  Raises UserError when the file is missing or is something else."""
        arrays = read_arrays(path, "matches")
        try:
            return cls(**{item.name: arrays[item.name] for item in fields(cls)})
        except KeyError:
            raise UserError(path, "", "does not hold matches", "delete it and run `dvc repro`") from None


def match(
    evaluation: CocoEvaluation,
    annotations: Annotations,
    detections: list[Detection],
    max_detections: int,
    object_iou: NDArray[np.float64],
    incomplete: Collection[tuple[int, int]] = (),
) -> Matches:
    """Match detections to objects as COCO does, from the overlaps that `evaluation` already has.

    object_iou: (N,) of the objects in file order, NaN where unknown; incomplete: pairs of image and category
    in which a detection that is not matched counts as ignored (LVIS).
    """
    image_at = {image: index for index, image in enumerate(evaluation.image_ids)}
    category_at = {category: index for index, category in enumerate(evaluation.category_ids)}
    crowds: dict[tuple[int, int], list[bool]] = defaultdict(list)
    for annotation in annotations["annotations"]:
        crowds[annotation["image_id"], annotation["category_id"]].append(bool(annotation.get("iscrowd", 0)))
    scores: dict[tuple[int, int], list[float]] = defaultdict(list)
    for detection in detections:
        scores[detection["image_id"], detection["category_id"]].append(detection["score"])
    blocks = []
    for pair in sorted(scores, key=lambda pair: (category_at[pair[1]], image_at[pair[0]])):
        best = np.sort(-np.asarray(scores[pair], dtype=np.float64), kind="stable")[:max_detections]
        positive, ignored = _match_pair(
            evaluation.overlaps.get(pair), np.asarray(crowds.get(pair, ()), bool), len(best)
        )
        if pair in incomplete:
            ignored = ~positive
        place = np.full((len(best), 2), (image_at[pair[0]], category_at[pair[1]]), dtype=np.int32)
        blocks.append((place, -best, positive, ignored))
    return _join(evaluation, blocks, annotations, image_at, category_at, object_iou)


def without_detections(annotations: Annotations, object_iou: NDArray[np.float64]) -> Matches:
    """The matches of a run that gives masks to given boxes; object_iou: (N,) as for `match`."""
    image_ids = sorted(image["id"] for image in annotations["images"])
    category_ids = sorted(category["id"] for category in annotations["categories"])
    own, wide = objects(annotations), (0, len(THRESHOLDS))
    return Matches(
        np.asarray(image_ids, np.int64),
        np.asarray(category_ids, np.int64),
        np.empty(0, np.int32),
        np.empty(0, np.int32),
        np.empty(0),
        np.empty(wide, bool),
        np.empty(wide, bool),
        np.searchsorted(image_ids, [annotation["image_id"] for annotation in own]).astype(np.int32),
        np.searchsorted(category_ids, [annotation["category_id"] for annotation in own]).astype(np.int32),
        np.asarray(object_iou, np.float64),
        np.asarray(False),
    )


Block = tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]


def _match_pair(
    overlaps: NDArray[np.float64] | None, crowd: NDArray[np.bool_], count: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Match the detections, best first, of one image and category: (count, 10) true positive, ignored.

    COCO's rule: a detection takes the free object that it overlaps most, the last one of equals, if that
    reaches the threshold; else it may fall on a crowd, which can take any number.
    """
    positive, ignored = np.zeros((2, count, len(THRESHOLDS)), dtype=bool)
    if overlaps is None:
        return positive, ignored
    reached = np.minimum(THRESHOLDS, 1 - 1e-10)[:, None]
    real, crowds = overlaps[:, ~crowd], overlaps[:, crowd]
    if crowds.shape[1]:
        ignored[:] = crowds.max(axis=1)[:, None] >= reached[:, 0]
    taken = np.zeros((len(THRESHOLDS), real.shape[1]), dtype=bool)
    hopeful = np.flatnonzero(real.max(axis=1, initial=0.0) >= reached[0])
    for row in hopeful:
        free = np.where(taken | (real[row] < reached), -1.0, real[row])
        choice = free.shape[1] - 1 - free[:, ::-1].argmax(axis=1)
        hit = np.flatnonzero(free[np.arange(len(choice)), choice] >= 0)
        taken[hit, choice[hit]] = True
        positive[row, hit] = True
    return positive, ignored & ~positive


def _join(
    evaluation: CocoEvaluation,
    blocks: list[Block],
    annotations: Annotations,
    image_at: dict[int, int],
    category_at: dict[int, int],
    object_iou: NDArray[np.float64],
) -> Matches:
    wide = (0, len(THRESHOLDS))
    place = np.concatenate([np.empty((0, 2), np.int32), *(block[0] for block in blocks)])
    score = np.concatenate([np.empty(0), *(block[1] for block in blocks)])
    positive = np.concatenate([np.empty(wide, bool), *(block[2] for block in blocks)])
    ignored = np.concatenate([np.empty(wide, bool), *(block[3] for block in blocks)])
    order = np.lexsort((-score, place[:, 1]))  # stable: ties keep the order of images
    own = objects(annotations)
    return Matches(
        np.asarray(evaluation.image_ids, np.int64),
        np.asarray(evaluation.category_ids, np.int64),
        place[order, 0],
        place[order, 1],
        score[order],
        positive[order],
        ignored[order],
        np.asarray([image_at[annotation["image_id"]] for annotation in own], np.int32),
        np.asarray([category_at[annotation["category_id"]] for annotation in own], np.int32),
        np.asarray(object_iou, np.float64),
        np.asarray(True),
    )
