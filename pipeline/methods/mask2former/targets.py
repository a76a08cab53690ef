"""The objects of a batch as the criterion compares them with predictions."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from pipeline.methods.mask2former.criterion import MaskTargets
from pipeline.structures import Target


def padded_targets(targets: Sequence[Target], size: tuple[int, int]) -> list[MaskTargets]:
    """Labels and masks of each image; the masks padded with background to the batch's (height, width).

    Raises ValueError where the labels are boxes alone.
    """
    padded = []
    for target in targets:
        masks = target.required_masks().as_subclass(Tensor)
        margins = (0, size[1] - masks.shape[2], 0, size[0] - masks.shape[1])
        padded.append(MaskTargets(target.labels, F.pad(masks, margins)))
    return padded
