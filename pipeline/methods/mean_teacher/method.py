"""Mean teacher (arXiv 1703.01780) for instance segmentation, as Guided Distillation compares itself with."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from pipeline import params
from pipeline.methods.mask2former.criterion import mask2former_losses
from pipeline.methods.mask2former.inference import detect, detect_and_fill
from pipeline.methods.mask2former.targets import padded_targets
from pipeline.methods.mean_teacher.losses import label_counts, unlabelled_losses
from pipeline.methods.mean_teacher.networks import TaughtMask2Former, TaughtPredictions
from pipeline.methods.mean_teacher.pairs import Pair
from pipeline.methods.mean_teacher.pseudo_masks import pseudo_masks
from pipeline.structures import Instances, Sample, pad_images


class MeanTeacher:
    """A student learns from masks; after the burn-in from its teacher, too, which follows it slowly.

    module: the student and the teacher; the engine may wrap it.
    """

    module: nn.Module

    def __init__(
        self,
        settings: params.Taught,
        networks: TaughtMask2Former,
        model: params.Mask2Former,
        predict: params.Predict,
    ) -> None:
        self.module = self.networks = networks
        self.settings = settings
        self.query_losses = model.losses
        self.limit = predict.detections_per_image
        self.predictor: Literal["student", "teacher"] = "student"

    # --- training ---------------------------------------------------------------------------------

    def losses(self, batch: list[Pair], step: int) -> dict[str, Tensor]:
        """Named scalar losses of one training step, which counts from 0.

        The teacher is updated first, so that it labels the batch with what the last step left.  Points are
        drawn from torch's global generator, which the engine seeds and restores.
        """
        self.networks.update_teacher(step, self.settings.burn_in, self.settings.teacher_momentum)
        device = next(self.networks.parameters()).device
        batch = [pair.to(device) for pair in batch]
        divisor = self.networks.student.padding_divisor
        labelled = pad_images([pair.labelled.image for pair in batch], divisor)
        height, width = labelled.images.shape[-2:]
        targets = padded_targets([pair.labelled.target for pair in batch], (height, width))
        outputs: TaughtPredictions
        if step >= self.taught_from:
            views = [pair.unlabelled for pair in batch if pair.unlabelled is not None]
            weak = pad_images([view.weak for view in views], divisor)
            strong = pad_images([view.strong for view in views], divisor)
            outputs = self.module(labelled.images, labelled.sizes, weak.images, strong.images, weak.sizes)
        else:
            outputs = self.module(labelled.images, labelled.sizes)
        return mask2former_losses(outputs.labelled, targets, self.query_losses) | self._of_teacher(outputs)

    @property
    def taught_from(self) -> int:
        """The first step with the teacher's labels, which before the hand-over mean nothing."""
        return self.settings.burn_in

    def after_step(self, step: int) -> None:
        """Nothing happens after a step; the teacher moves before the next one."""

    def _of_teacher(self, outputs: TaughtPredictions) -> dict[str, Tensor]:
        """The losses on the teacher's labels, and how many there are; nothing where it was not asked."""
        if outputs.unlabelled is None or outputs.taught is None:
            return {}
        labels = pseudo_masks(outputs.taught, self.settings.pseudo_masks)
        weight = self.settings.unlabelled_weight
        losses = unlabelled_losses(outputs.unlabelled, labels, self.query_losses, weight)
        return losses | label_counts(labels)

    # --- prediction -------------------------------------------------------------------------------

    def predict(self, samples: list[Sample]) -> list[Instances]:
        """Detections of the `predictor` for each image, in pixels of the original images."""
        return detect(getattr(self.networks, self.predictor), samples, self.limit)

    def predict_with_boxes(
        self, samples: list[Sample], boxes: list[Tensor]
    ) -> tuple[list[Instances], list[Tensor]]:
        """Detections as `predict`, and one mask for each given box: (N, H, W) bool per image, clipped to it.

        boxes: (N, 4) xyxy per image, in pixels of the original image; N may be 0.
        """
        return detect_and_fill(getattr(self.networks, self.predictor), samples, boxes, self.limit)
