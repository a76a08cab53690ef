"""CondInst trained on instance masks (arXiv 2003.05664), or on pseudo-masks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline import params
from pipeline.methods.detection.condinst import CondInstSegmenter
from pipeline.methods.detection.mask_targets import sample_masks
from pipeline.methods.detection.proposals import Positives, random_choice, topk_per_box
from pipeline.methods.detection.segmenter import Learnt
from pipeline.methods.detection.segmenter_method import SegmenterMethod
from pipeline.methods.detection.targets import mask_centroids
from pipeline.methods.dice import dice_loss
from pipeline.structures import PaddedBatch, Sample, Target


class SupervisedCondInst(SegmenterMethod):
    """Detection losses and the dice loss of the proposals' masks."""

    def __init__(
        self,
        settings: params.Supervised,
        network: nn.Module,
        model: params.CondInst,
        num_classes: int,
        predict: params.Predict,
        seed: int,
    ) -> None:
        """seed: of the random draw of proposals."""
        super().__init__(
            network,
            CondInstSegmenter(model, num_classes, predict, centers=self._centers, choose=self._choose),
        )
        self.settings, self.model = settings, model
        self.seed = seed

    def _centers(self, target: Target, padded_size: tuple[int, int]) -> Tensor:
        return mask_centroids(target.required_masks())

    def _choose(self, positives: Positives, step: int) -> Tensor:
        if self.model.topk_per_image > 0:
            return topk_per_box(positives, self.model.topk_per_image)
        # A generator of the step's own: a resumed run draws what an uninterrupted one would.
        generator = torch.Generator().manual_seed((self.seed << 32) + step)
        return random_choice(positives, self.model.max_proposals, generator)

    def mask_losses(
        self, learnt: Learnt, batch: list[Sample], padded: PaddedBatch, step: int
    ) -> dict[str, Tensor]:
        height, width = padded.images.shape[-2:]
        masks = sample_masks(
            [sample.target.required_masks() for sample in batch], (height, width), learnt.stride
        )
        total = dice_loss(learnt.logits.sigmoid(), masks[learnt.boxes]).sum()
        return {"loss_mask": self.settings.mask_weight * total / max(len(learnt.logits), 1)}
