"""BoxTeacher (arXiv 2210.05174) on any segmenter: a student learns from its teacher's masks of its boxes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline import params
from pipeline.methods.box_supervision.batch import box_losses, box_masks_of
from pipeline.methods.box_supervision.losses import warmup
from pipeline.methods.box_supervision.targets import valid_pixels
from pipeline.methods.box_teacher.affinity import affine_pairs, mask_affinity
from pipeline.methods.box_teacher.confidence import mask_aware_confidence
from pipeline.methods.box_teacher.kept import is_kept, kept_rows
from pipeline.methods.box_teacher.losses import (
    mask_affinity_loss,
    mean_projection_loss,
    normaliser,
    pseudo_mask_loss,
)
from pipeline.methods.box_teacher.matching import candidates
from pipeline.methods.box_teacher.networks import BoxTeacherNetworks
from pipeline.methods.box_teacher.pseudo_masks import PseudoMasks, match_masks, on_grid, teacher_images
from pipeline.methods.box_teacher.rows import Row
from pipeline.methods.box_teacher.views import LabelledViews
from pipeline.methods.detection.segmenter import Found, Learnt, Segmenter
from pipeline.methods.detection.segmenter_method import SegmenterPrediction
from pipeline.structures import Instances, PaddedBatch, Sample, pad_images

BINARY = 0.5  # above which a cell belongs to a pseudo mask


class BoxTeacher(SegmenterPrediction):
    """Detection losses and the losses of boxes, and those of the teacher's masks, which ramp up.

    The teacher follows the student from the first step; it labels the images in their own colours, at a
    scale of its own, and predicts in the end.  As it needs no gradients, it is called beside the engine's
    wrapper, in float32 whatever the student's precision is.
    """

    module: nn.Module

    def __init__(
        self, settings: params.BoxTeacher, networks: BoxTeacherNetworks, segmenter: Segmenter
    ) -> None:
        super().__init__(segmenter)
        self.module = self.networks = networks
        self.settings = settings
        self.kept: list[Row] = []  # of pseudo masks

    # --- training ---------------------------------------------------------------------------------

    def losses(self, batch: list[LabelledViews], step: int) -> dict[str, Tensor]:
        """Named scalar losses of one training step, which counts from 0."""
        self.networks.update_teacher(step, self.settings.teacher_momentum)
        device = next(self.networks.parameters()).device
        batch = [views.to(device) for views in batch]
        weak, divisor = [views.weak for views in batch], self.segmenter.padding_divisor
        labels = self.label(weak)
        if is_kept(step, self.settings.train.checkpoint_every):
            self.kept += kept_rows(step, batch, labels)
        strong = pad_images([views.strong for views in batch], divisor)
        learnt = self.segmenter.learn(self.module, strong, [sample.target for sample in weak], step)
        factor = warmup(step, self.settings.warmup)
        with torch.autocast(device.type, enabled=False):
            padded = pad_images([sample.image for sample in weak], divisor)
            return (
                learnt.losses
                | box_losses(learnt, weak, padded, self.settings, factor)
                | self._pseudo_losses(learnt, labels, weak, padded, factor)
                | label_figures(labels)
            )

    def after_step(self, step: int) -> None:
        """Nothing happens after a step; the teacher moves before the next one."""

    def memory(self) -> list[Row]:
        """The pseudo masks that are kept."""
        return self.kept

    def recall(self, memory: list[Row]) -> None:
        """Go on from there."""
        self.kept = memory

    def records(self) -> dict[str, list[Row]]:
        """The sample of pseudo masks that `quality.py` measures."""
        return {"pseudo_masks.json": self.kept}

    @torch.no_grad()
    def label(self, batch: list[Sample]) -> list[PseudoMasks]:
        """The teacher's masks of the boxes of each image, at the image's size."""
        images = teacher_images(
            [sample.image for sample in batch], self.settings.teacher, self.segmenter.padding_divisor
        )
        sizes = [(int(sample.image.shape[-2]), int(sample.image.shape[-1])) for sample in batch]
        boxes = [sample.target.boxes.as_subclass(Tensor) for sample in batch]

        def near(image: int, found: Tensor) -> Tensor:
            slip = self.settings.reassign_first
            return candidates(found, boxes[image], self.settings.iou_threshold, reassign_first=slip)

        with torch.autocast(images.images.device.type, enabled=False):
            seen = self.segmenter.see(self.networks.teacher, images)
            found = seen.find(sizes, soft=self.settings.teacher_mask == "float", wanted=near)
        return [match_masks(*pair, self.settings) for pair in zip(found, boxes, strict=True)]

    def _pseudo_losses(
        self,
        learnt: Learnt,
        labels: list[PseudoMasks],
        batch: list[Sample],
        padded: PaddedBatch,
        factor: float,
    ) -> dict[str, Tensor]:
        """The losses on the teacher's masks, with their weights, of the proposals whose box has one."""
        settings, stride = self.settings, learnt.stride
        height, width = padded.images.shape[-2:]
        boxes = box_masks_of(batch, padded, stride)
        masks = on_grid(labels, boxes, (height, width), stride)
        box_weights = torch.cat([image.weights for image in labels])
        taught = box_weights[learnt.boxes] > 0
        logits, chosen = learnt.logits[taught], learnt.boxes[taught]
        weights = box_weights[chosen]
        divisor = normaliser(weights, settings.normalize_by)

        solid = (masks > BINARY)[chosen]
        losses = {"loss_mask": settings.pseudo_mask_weight * pseudo_mask_loss(logits, solid, weights)}
        if settings.mean_projection_weight:
            mean = mean_projection_loss(logits, solid, weights)
            losses["loss_avg"] = settings.mean_projection_weight * mean
        used, place = torch.unique(chosen, return_inverse=True)
        affinity = mask_affinity(
            masks[used],
            valid_pixels(batch, padded, stride, settings.bottom_pixels_removed)[_images(batch)[used]],
            settings.pairwise_size,
            settings.pairwise_dilation,
        )
        pairs = affine_pairs(affinity, settings.affinity_threshold)
        dilation = settings.pairwise_dilation
        loss = mask_affinity_loss(logits, boxes[chosen], pairs, place, weights, dilation=dilation)
        losses["loss_mask_affinity"] = settings.affinity_weight * loss
        return {name: factor * loss / divisor for name, loss in losses.items()}

    # --- prediction -------------------------------------------------------------------------------

    @property
    def predictor(self) -> nn.Module:
        return self.networks.teacher

    def instances(self, found: Found) -> Instances:
        scores = mask_aware_confidence(found.scores, found.certainty)
        order = scores.argsort(descending=True, stable=True)
        return Instances(found.boxes[order], found.labels[order], scores[order], found.masks[order])


def _images(batch: list[Sample]) -> Tensor:
    """Which image of a batch each of its boxes is in: (G,) int64."""
    counts = torch.tensor([len(sample.target.labels) for sample in batch])
    images = torch.arange(len(batch)).repeat_interleave(counts)
    return images.to(batch[0].target.labels.device)


def label_figures(labels: list[PseudoMasks]) -> dict[str, Tensor]:
    """What the log shows: the share of a batch's boxes with a pseudo mask, and these masks' mean weight.

    NaN where there is none to take it of.
    """
    weights = torch.cat([image.weights for image in labels])
    accepted = weights > 0
    return {
        "metric_accepted_share": accepted.float().mean(),
        "metric_pseudo_mask_weight": weights[accepted].mean(),
    }
