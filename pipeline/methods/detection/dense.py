"""The network's predictions with all locations of the pyramid in one axis."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.models.condinst import CondInstOutputs


@dataclass
class DenseOutputs:
    """Predictions for B images and L locations, in the order of `Locations`.

    class_logits: (B, L, K); distances: (B, L, 4) in strides; centerness: (B, L) logits;
    controller: (B, L, P); mask_features: (B, C, h, w).
    """

    class_logits: Tensor
    distances: Tensor
    centerness: Tensor
    controller: Tensor
    mask_features: Tensor


def flatten_outputs(outputs: CondInstOutputs) -> DenseOutputs:
    """Per-level (B, C, h, w) maps -> (B, L, C), in float32."""
    outputs = outputs.float()
    return DenseOutputs(
        _flatten(outputs.class_logits),
        _flatten(outputs.distances),
        _flatten(outputs.centerness).squeeze(2),
        _flatten(outputs.controller),
        outputs.mask_features,
    )


def _flatten(levels: list[Tensor]) -> Tensor:
    return torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)
