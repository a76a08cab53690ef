"""Optional last step of labelling: a mean field or a dense CRF moves the masks to the edges of the image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline import params
from pipeline.methods.mal.mean_field import refine
from pipeline.priors.crf.inference import dense_crf_batch


def refine_logits(logits: Tensor, images: Tensor, boxes: Tensor, settings: params.MeanField) -> Tensor:
    """The mean field that MAL trains with, at the resolution of the logits: (B, S, S) in [0, 1].

    logits: (B, o, o); images: (B, 3, S, S) normalised; boxes: (B, S, S), 1 in the box.
    """
    size = [int(side) for side in logits.shape[-2:]]
    small = F.interpolate(images, size, mode="bilinear", align_corners=False)
    inside = F.interpolate(boxes[:, None].float(), size, mode="bilinear", align_corners=False)[:, 0]
    masks = refine(small, logits.float().sigmoid(), inside, settings).float()[:, None]
    whole = F.interpolate(masks, list(boxes.shape[-2:]), mode="bilinear", align_corners=False)[:, 0]
    return whole * boxes


def refine_crops(probabilities: Tensor, crops: Tensor, boxes: Tensor, settings: params.DenseCrf) -> Tensor:
    """A dense CRF of object against background, at the resolution of the crops: (B, S, S) in [0, 1].

    probabilities: (B, S, S); crops: (B, 3, S, S) uint8 RGB; boxes: (B, S, S), 1 in the box.
    """
    both = torch.stack([1 - probabilities.float(), probabilities.float()], 1)
    return dense_crf_batch(crops.permute(0, 2, 3, 1), both, settings)[:, 1] * boxes
