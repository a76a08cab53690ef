"""A batch of crops as tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.data.semantic_samples import SemanticSample


def stacked(batch: list[SemanticSample]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images (B, 3, H, W) float32 in 0..255, label maps and regions (B, H, W), tags (B, C) bool."""
    return (
        torch.stack([sample.image for sample in batch]).float(),
        torch.stack([sample.labels for sample in batch]),
        torch.stack([sample.regions for sample in batch]),
        torch.stack([sample.tags for sample in batch]),
    )
