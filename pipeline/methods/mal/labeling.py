"""A trained auto-labeler at work: a mask for every box, a batch of boxes at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Dataset
from tqdm import tqdm

from pipeline import params
from pipeline.data.masks import Rle
from pipeline.methods.mal.crops import PlacedCrop
from pipeline.methods.mal.method import StudentAndTeacher
from pipeline.methods.mal.pseudo_masks import choose, mean_logits, paste_masks


def label_boxes(
    networks: StudentAndTeacher,
    crops: Dataset[PlacedCrop],
    indices: Sequence[int],
    labeling: params.Labeling,
    *,
    device: torch.device,
    name: str,
) -> Iterator[list[tuple[int, int, Rle, float]]]:
    """Give a mask to the box of each of `indices`, in their order; yields a batch at a time.

    networks: on `device`, in evaluation mode; name: for the progress bar.  An entry is (annotation id,
    image id, compressed RLE of the image's size, score): the score is the mean probability inside the mask,
    0 for an empty one.
    """
    chosen = choose(networks.student, networks.teacher, labeling.network)
    starts = range(0, len(indices), labeling.batch_size)
    for start in tqdm(starts, desc=f"label {name}", unit="batch", mininterval=1):
        batch = [crops[index] for index in indices[start : start + labeling.batch_size]]
        images = networks.student.normalise(torch.stack([crop.image for crop in batch]).to(device))
        areas = torch.tensor([crop.area for crop in batch], device=device)
        with torch.inference_mode():
            logits = mean_logits(chosen, images, areas, flip=labeling.flip)
            boxes = torch.stack([crop.box for crop in batch]).to(device)
            probabilities = _refined(logits, images, boxes, labeling)
        yield paste_masks(probabilities, batch, labeling)
