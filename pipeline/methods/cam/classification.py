"""Training the classifier whose maps are taken."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.methods.cam.tagged_images import TaggedImage
from pipeline.models.classifier import TagClassifier


class TagClassification:
    """Multi-label soft-margin loss on image tags; what the engine needs to train a `TagClassifier`."""

    def __init__(self, module: TagClassifier) -> None:
        self.module: nn.Module = module

    def losses(self, batch: list[TaggedImage], step: int) -> dict[str, Tensor]:
        """The mean over images and classes, and the share of the questions that was answered rightly."""
        tags = torch.stack([sample.tags for sample in batch])
        logits = self.module(torch.stack([sample.image for sample in batch]))
        return {
            "tags": F.multilabel_soft_margin_loss(logits, tags),
            "metric_accuracy": ((logits > 0) == (tags > 0)).float().mean(),
        }

    def after_step(self, step: int) -> None:
        """Nothing follows a step."""
