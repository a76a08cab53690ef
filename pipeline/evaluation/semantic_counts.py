"""What figures of label maps need of every image: confusion of classes, overlap along their boundaries."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.data.label_codes import UNLABELLED, VOID
from pipeline.data.packs import Pack
from pipeline.engine.parallel import HERE, map_images
from pipeline.errors import UserError
from pipeline.files import read_arrays, write_arrays
from pipeline.params import Executor

Labels = NDArray[np.uint8]  # (H, W) classes and codes
Counted = NDArray[np.int64]

REMEDY = "make the predictions again for this ground truth"


@dataclass(frozen=True)
class MapCounts:
    """Pixels of I images and C classes that were counted for one kind of prediction.

    confusion: (I, C, C), ground truth by prediction; boundary: (I, 2, C), in the boundary of the class in
    both maps, and in either.
    """

    confusion: Counted
    boundary: Counted


@dataclass(frozen=True)
class SemanticCounts:
    """The counts of one run and seed: of its predictions, and of those that a dense CRF refined, or None.

    image_ids: (I,) ascending.
    """

    image_ids: NDArray[np.int64]
    plain: MapCounts
    crf: MapCounts | None

    def save(self, path: Path) -> None:
        """Write as .npz; equal values give equal bytes."""
        arrays = {
            "image_ids": self.image_ids,
            "confusion": self.plain.confusion,
            "boundary": self.plain.boundary,
        }
        if self.crf is not None:
            arrays |= {"crf_confusion": self.crf.confusion, "crf_boundary": self.crf.boundary}
        write_arrays(path, arrays)

    @classmethod
    def load(cls, path: Path) -> SemanticCounts:
        """Read what `save` wrote.  Raises UserError when the file is missing or is something else."""
        arrays = read_arrays(path, "counts of label maps")
        try:
            plain = MapCounts(arrays["confusion"], arrays["boundary"])
            crf = None
            if "crf_confusion" in arrays:
                crf = MapCounts(arrays["crf_confusion"], arrays["crf_boundary"])
            return cls(arrays["image_ids"], plain, crf)
        except KeyError:
            raise UserError(
                path, "", "does not hold counts of label maps", "delete it and run `dvc repro`"
            ) from None


def count_images(
    truth: Pack,
    plain: Pack,
    crf: Pack | None,
    dilation: float,
    processes: int,
    executor: Executor = HERE,
    *,
    partial_maps: bool = False,
) -> SemanticCounts:
    """Count every image of a pack, of `truth` or, with `partial_maps`, of `plain`.

    truth: label maps (H, W) uint8; its `about` names the classes.  plain, crf: packs of predicted classes;
    images that `truth` does not have are left alone.  dilation: see `boundary_overlap`.  partial_maps:
    `plain` is a label set, of all images or of a share of them, and its pixels of no class are predictions of
    one more class, the last, which the ground truth never has: they are missed by the class they are of.
    Raises UserError for an image without a prediction, one of another size, and pixels whose predicted class
    does not exist.
    """
    classes = len(truth.about["classes"]) + int(partial_maps)
    kinds = [plain] if crf is None else [plain, crf]
    work = partial(
        _count_image, truth=truth, kinds=kinds, classes=classes, dilation=dilation, partial_maps=partial_maps
    )
    images = plain.ids if partial_maps else truth.ids
    counted = list(map_images(work, images, processes, "label maps", executor))
    made = [MapCounts(*arrays) for arrays in _stacked(counted, classes, len(kinds))]
    return SemanticCounts(np.asarray(images, dtype=np.int64), made[0], made[1] if len(made) > 1 else None)


def _stacked(
    counted: list[list[tuple[Counted, Counted]]], classes: int, kinds: int
) -> Iterator[tuple[Counted, Counted]]:
    for kind in range(kinds):
        confusion = [image[kind][0] for image in counted]
        boundary = [image[kind][1] for image in counted]
        yield (
            np.asarray(confusion, dtype=np.int64).reshape(-1, classes, classes),
            np.asarray(boundary, dtype=np.int64).reshape(-1, 2, classes),
        )


def _count_image(
    image_id: int, truth: Pack, kinds: list[Pack], classes: int, dilation: float, partial_maps: bool
) -> list[tuple[Counted, Counted]]:
    """(C, C) and (2, C) of each kind of prediction of an image."""
    labels = truth.read(image_id)
    counts = []
    for pack in kinds:
        predicted = pack.read(image_id)
        if partial_maps:
            predicted = np.where(predicted >= UNLABELLED, classes - 1, predicted).astype(np.uint8)
        if problem := _problem(labels, predicted, classes):
            raise UserError(pack.folder, f"image {image_id}", problem, REMEDY)
        counts.append(
            (
                confusion_matrix(labels, predicted, classes),
                boundary_overlap(labels, predicted, classes, dilation),
            )
        )
    return counts


def _problem(labels: Labels, predicted: Labels, classes: int) -> str:
    """Why a prediction cannot be compared, or ""."""
    if predicted.shape != labels.shape:
        sizes = [f"{height} x {width}" for height, width in (predicted.shape, labels.shape)]
        return f"its prediction is {sizes[0]} pixels, and its ground truth {sizes[1]} (height x width)"
    if int(predicted.max(initial=0)) >= classes:
        return f"a pixel is of class {int(predicted.max())}, and there are {classes}"
    return ""


def confusion_matrix(labels: Labels, predicted: Labels, classes: int) -> Counted:
    """(C, C) number of pixels of each class (rows) that were predicted as each class (columns).

    labels: (H, W) ground truth, of which values that are no class are left out; predicted: (H, W) classes.
    """
    known = labels < classes
    pairs = labels[known].astype(np.int64) * classes + predicted[known]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def boundary_overlap(labels: Labels, predicted: Labels, classes: int, dilation: float) -> Counted:
    """(2, C) pixels of each class's boundary in both maps, and in either (Cheng et al., arXiv 2103.16562).

    The boundary of a class is those of its pixels that are closer than `dilation` x the image diagonal
    (rounded to whole pixels, at least 1) to another class; what is beyond the image counts as that.  Pixels
    without ground truth are taken out of both maps, and count as another class in both: a prediction that
    is right wherever the truth is known has the boundaries of the truth.
    """
    known = labels < classes
    truth = np.where(known, labels, VOID).astype(np.uint8)
    found = np.where(known, predicted, VOID).astype(np.uint8)
    reach = max(1, round(dilation * math.hypot(*labels.shape)))
    own = boundary_band(truth, reach) & known
    other = boundary_band(found, reach) & known
    both = own & other & (truth == found)
    inside = np.bincount(truth[both], minlength=classes)
    either = np.bincount(truth[own], minlength=classes) + np.bincount(found[other], minlength=classes)
    return np.stack([inside, either - inside])


def boundary_band(labels: Labels, reach: int) -> NDArray[np.bool_]:
    """(H, W) whether another value, or what is beyond the image, lies in the square of `reach` pixels."""
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    band = cv2.erode(labels, kernel) != cv2.dilate(labels, kernel)  # both see the image alone
    band[:reach] = band[-reach:] = True
    band[:, :reach] = band[:, -reach:] = True
    return np.asarray(band, dtype=np.bool_)
