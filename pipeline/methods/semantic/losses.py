"""Cross-entropy of classified pixels with partial label maps."""

from __future__ import annotations

from torch import Tensor

from pipeline.distributed import mean_over_processes
from pipeline.models.layers import resize_bilinear


def pixel_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over labelled pixels of all processes; 0 where there are none.

    logits: (B, C, h, w), enlarged to the labels' size bilinearly; labels: (B, H, W), of which all values
    from C on are ignored: unlabelled pixels and void ones.
    """
    classes = logits.shape[1]
    labels = labels.long()
    enlarged = resize_bilinear(logits, labels.shape[1], labels.shape[2])
    known = labels < classes
    # Not torch's cross-entropy, whose kernels for maps add up in another order on every run on a GPU.
    chosen = enlarged.log_softmax(dim=1).gather(1, labels.where(known, 0)[:, None])[:, 0]
    return -chosen.where(known, 0).sum() / mean_over_processes(known.sum()).clamp(min=1)
