"""A trained auto-labeler at work: a mask for every box, a batch of boxes at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import params
from pipeline.data.images import ImageStore
from pipeline.data.masks import Rle, areas, encode
from pipeline.engine.devices import half_precision, reproducible
from pipeline.engine.lock import discard, only_process
from pipeline.errors import UserError
from pipeline.labels.label_file import LabelFile
from pipeline.labels.pseudo import Labelled, PseudoLabels
from pipeline.methods.bundle import load_labeler
from pipeline.methods.mal.crops import TEST_AREAS, LabelingCrops, PlacedCrop, read_crops
from pipeline.methods.mal.method import StudentAndTeacher
from pipeline.methods.mal.pseudo_masks import (
    CUT,
    choose,
    crop_probabilities,
    mean_logits,
    paste,
    threshold_of,
)
from pipeline.methods.mal.refinement import refine_crops, refine_logits


class BoxMask(NamedTuple):
    """The mask of a box, as a compressed RLE of its image's size.

    score: the network's mean probability inside the mask, 0 for an empty one.  A refinement decides the mask
    and not the score: its own values are near 0 and 1 whether the network was sure or not.
    """

    annotation_id: int
    image_id: int
    rle: Rle
    score: float


def label_boxes(
    networks: StudentAndTeacher,
    crops: LabelingCrops,
    indices: Sequence[int],
    labeling: params.Labeling,
    *,
    device: torch.device,
    name: str,
) -> Iterator[list[BoxMask]]:
    """Give a mask to the box of each of `indices`, in their order; yields a batch at a time.

    networks: on `device`, in evaluation mode; name: for the progress bar.
    """
    for batch in read_crops(crops, indices, labeling, f"label {name}"):
        with torch.inference_mode():
            own, deciding = (made.cpu().numpy() for made in _probabilities(networks, batch, labeling, device))
        yield [_mask(*made, labeling) for made in zip(own, deciding, batch, strict=True)]


def write_pseudo_labels(
    model: Path,
    store: ImageStore,
    boxes: Path,
    labeling: params.Labeling,
    out: Path,
    *,
    device: torch.device,
    checkpoint: Path,
    key: str,
    name: str,
) -> dict[str, Any]:
    """Label all boxes of the label file `boxes` by the auto-labeler in the folder `model`.

    Writes `out`/labels.json, a label file of masks, and `out`/results.json, the same as COCO results; returns
    the account of what became of the annotations.  checkpoint: a folder for this labelling alone, from which
    one that was killed goes on to the same bytes, as long as `key` (a hash of all that matters) is the same.
    Raises UserError for files that do not fit each other.
    """
    networks, settings, network = load_labeler(model, device)
    crops = LabelingCrops(store, LabelFile.read(boxes), settings, network.crop_size)
    with only_process(checkpoint, name, "labelling these boxes"), reproducible(labeling.threads):
        writer = PseudoLabels(boxes, checkpoint, key, min_side=settings.min_side)
        _check_wanted(boxes, writer.remaining, crops)
        indices = np.flatnonzero(np.isin(crops.annotation_ids, writer.remaining)).tolist()
        for masks in label_boxes(networks, crops, indices, labeling, device=device, name=name):
            writer.add(Labelled(mask.annotation_id, mask.rle, mask.score) for mask in masks)
        # Without the number of workers, which makes no difference to what is written.
        account = writer.finish(out, {"labeling": labeling.model_dump(mode="json", exclude={"workers"})})
    discard(checkpoint)
    return account


def _check_wanted(boxes: Path, wanted: NDArray[np.int64], crops: LabelingCrops) -> None:
    """Raise UserError for a box that needs a mask and cannot be cropped, before hours of work are done."""
    if lacking := np.setdiff1d(wanted, crops.annotation_ids).tolist():
        raise UserError(
            boxes,
            f"annotation {lacking[0]}",
            f"its box is too large to be cropped: {TEST_AREAS[1]:g} square pixels or more",
            "correct it; boxes are x, y, width, height",
        )


def label_given_boxes(
    model: Path,
    store: ImageStore,
    boxes: LabelFile,
    labeling: params.Labeling,
    *,
    device: torch.device,
    name: str,
) -> list[dict[str, Any]]:
    """A mask for every box of a label file, by annotation, as {annotation_id, image_id, segmentation}.

    A box that is too small for the labeler has an empty mask.
    """
    networks, settings, network = load_labeler(model, device)
    crops = LabelingCrops(store, boxes, settings, network.crop_size)
    made: dict[int, Rle] = {}
    with reproducible(labeling.threads):
        for masks in label_boxes(networks, crops, range(len(crops)), labeling, device=device, name=name):
            made.update((mask.annotation_id, mask.rle) for mask in masks)
    return [
        {
            "annotation_id": annotation_id,
            "image_id": image_id,
            "segmentation": made.get(annotation_id) or encode(np.zeros((1, *labels.size), dtype=bool))[0],
        }
        for image_id, labels in boxes.images.items()
        for annotation_id in labels.annotation_ids.tolist()
    ]


def _probabilities(
    networks: StudentAndTeacher, batch: list[PlacedCrop], labeling: params.Labeling, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The network's own and those that decide the masks: both (B, S, S) in [0, 1], 0 outside the boxes."""
    crops = torch.stack([crop.image for crop in batch]).to(device)
    boxes = torch.stack([crop.box for crop in batch]).to(device)
    areas = torch.tensor([crop.area for crop in batch], device=device)
    images = networks.student.normalise(crops)
    chosen = choose(networks.student, networks.teacher, labeling.network)
    with half_precision(device):
        logits = mean_logits(chosen, images, areas, flip=labeling.flip).float()
    own = crop_probabilities(logits, boxes)
    match labeling.refine:
        case "none":
            return own, own
        case "mean_field":
            return own, refine_logits(logits, images, boxes, labeling.mean_field)
        case "dense_crf":
            return own, refine_crops(own, crops, boxes, labeling.dense_crf)


def _mask(
    own: NDArray[np.float32], deciding: NDArray[np.float32], crop: PlacedCrop, labeling: params.Labeling
) -> BoxMask:
    threshold = threshold_of(crop.area, labeling.thresholds) if labeling.refine == "none" else CUT
    rle = paste(deciding, crop.region, crop.size, threshold)
    # A mask of a pixel or two of the crop can be lost in a smaller image.
    score = float(own[deciding > threshold].mean()) if areas([rle])[0] else 0.0
    return BoxMask(crop.annotation_id, crop.image_id, rle, round(score, 6))
