"""The two losses of MAL (arXiv 2301.03992, equations 2 and 3, as released) and their warm-ups."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pipeline import params
from pipeline.methods.dice import at_least_float32, dice_loss
from pipeline.methods.mal.mean_field import refine

DICE_EPSILON = 2 * 0.001  # once for each of the two sizes in the denominator
COUNT_EPSILON = 1e-4  # beside the number of crops


def dice(inputs: Tensor, targets: Tensor) -> Tensor:
    """1 - 2 sum(u v) / (sum(u^2) + 0.001 + sum(v^2) + 0.001).

    inputs, targets: (B, ...) in [0, 1].  Returns (B,) in [0, 1]; two empty maps give 1.
    """
    return dice_loss(inputs, targets, DICE_EPSILON)


def mil_loss(probabilities: Tensor, boxes: Tensor) -> Tensor:
    """Dice loss between the row maxima of a mask and of its box, plus that of the column maxima.

    probabilities, boxes: (B, H, W) in [0, 1]; boxes may be fractional.  Returns (B,) in [0, 2].  Each
    maximum passes its gradient to one pixel: on a CPU to the first one among equals.
    """
    losses = [dice(probabilities.max(dim=axis).values, boxes.amax(dim=axis)) for axis in (1, 2)]
    return losses[0] + losses[1]


def crf_loss(probabilities: Tensor, refined: Tensor) -> Tensor:
    """Dice loss of masks and their refined versions, mean over the batch: a scalar in [0, 1].

    probabilities: (B, H, W) in [0, 1].  refined: (B, H, W) bool, see `mean_field.refine`.
    """
    return dice(probabilities, refined).mean()


def warmup(step: int, steps: int, first_epoch: bool) -> float:
    """Factor of a loss at step `step` of its epoch, counted from 0.

    In the first epoch it rises linearly from 0 to 1 over `steps`; afterwards it is 1, even if the first
    epoch was too short to get there.
    """
    return min(step / steps, 1.0) if first_epoch and steps else 1.0


def mal_losses(
    student: Tensor,
    teacher: Tensor,
    images: Tensor,
    boxes: Tensor,
    settings: params.Mal,
    *,
    step: int,
    first_epoch: bool,
) -> dict[str, Tensor]:
    """Both losses of a batch of crops, weighted and warmed up; their sum is to be minimised.

    student, teacher: logits (B, H, W) of the same crops; only the student's get a gradient.  images:
    (B, 3, S, S), the student's input (augmented and normalised).  boxes: (B, S, S), 1 inside the box.
    step: of the epoch, counted from 0.  Returns the scalars `loss_mil` and `loss_crf`, float32.
    """
    probabilities = at_least_float32(student).sigmoid()
    average = (probabilities.detach() + at_least_float32(teacher.detach()).sigmoid()) / 2
    size = list(student.shape[1:])
    # Fractional at its border: the released code does not round the smaller mask.
    masks = _resize(boxes[:, None], size)[:, 0]
    mil = mil_loss(probabilities, masks).sum() / (len(student) + COUNT_EPSILON)
    crf = crf_loss(probabilities, refine(_resize(images, size), average, masks, settings.mean_field))
    mil_factor = settings.mil_weight * warmup(step, settings.mil_warmup, first_epoch)
    crf_factor = settings.crf_weight * warmup(step, settings.crf_warmup, first_epoch)
    return {"loss_mil": mil_factor * mil, "loss_crf": crf_factor * crf}


def _resize(maps: Tensor, size: list[int]) -> Tensor:
    return F.interpolate(at_least_float32(maps), size=size, mode="bilinear", align_corners=False)
