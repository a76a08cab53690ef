"""The clustering score of a trained auto-labeler, over the boxes of a split with ground-truth masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline import params
from pipeline.data.images import ImageStore
from pipeline.data.masks import Rle, decode
from pipeline.engine.devices import reproducible
from pipeline.labels.label_file import LabelFile
from pipeline.methods.bundle import load_labeler
from pipeline.methods.mal.clustering import clustering_score, foreground_cells
from pipeline.methods.mal.crops import LabelingCrops, PlacedCrop, read_crops
from pipeline.methods.mal.rois import resize


def measure_separation(
    model: Path,
    store: ImageStore,
    boxes: LabelFile,
    annotations: dict[str, Any],
    labeling: params.Labeling,
    *,
    device: torch.device,
    name: str,
) -> dict[str, Any]:
    """Mean clustering score (Eq. 6 of arXiv 2301.03992) of the student's encoder over the boxes' crops.

    annotations: COCO json with masks as compressed RLEs.  Returns clustering_score in [0, 4], lower is
    better, None without any box that counts; boxes: how many counted; without_mask: boxes that have no
    ground-truth mask; one_sided: those whose crop has object or background only, and so no score.
    """
    masks = {row["id"]: row["segmentation"] for row in annotations["annotations"] if "segmentation" in row}
    networks, settings, network = load_labeler(model, device)
    crops = LabelingCrops(store, boxes, settings, network.crop_size)
    known = [index for index, key in enumerate(crops.annotation_ids.tolist()) if key in masks]
    scores = []
    with torch.inference_mode(), reproducible(labeling.threads):
        for batch in read_crops(crops, known, labeling, f"cluster {name}"):
            images = torch.stack([crop.image for crop in batch]).to(device)
            tokens = networks.student.tokens(networks.student.normalise(images))
            truth = torch.from_numpy(np.stack([_cropped(masks[crop.annotation_id], crop) for crop in batch]))
            scores.append(
                clustering_score(tokens, foreground_cells(truth.to(device), tokens.shape[-1])).cpu()
            )
    values = torch.cat(scores) if scores else torch.zeros(0)
    counted = values[values.isfinite()]
    return {
        "clustering_score": round(float(counted.mean()), 6) if len(counted) else None,
        "boxes": len(counted),
        "without_mask": len(crops) - len(known),
        "one_sided": len(values) - len(counted),
    }


def over_seeds(figures: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """What `measure_separation` found of every seed as one: the mean score, and that of each in `seeds`.

    Which boxes count depends on boxes, masks and parameters alone, and so is the same for all seeds.
    """
    scores = {seed: found["clustering_score"] for seed, found in sorted(figures.items())}
    known = [score for score in scores.values() if score is not None]
    return {
        **figures[min(figures)],
        "clustering_score": round(float(np.mean(known)), 6) if known else None,
        "seeds": {str(seed): score for seed, score in scores.items()},
    }


def _cropped(rle: Rle, crop: PlacedCrop) -> NDArray[np.uint8]:
    """(S, S) uint8: the mask of an image where the crop lies, 0 outside the image."""
    left, top, right, bottom = crop.region
    height, width = crop.size
    whole = np.zeros((bottom - top, right - left), dtype=np.uint8)
    rows, columns = slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, width))
    inside = decode([rle], crop.size)[0][rows, columns]
    whole[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = inside
    return resize(whole, crop.image.shape[-1])
