"""What Mask2Former says of a batch."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class QueryPredictions(NamedTuple):
    """Of every query a class and a mask, both as logits in float32.

    class_logits: (B, Q, K + 1), the last column is "no object"; mask_logits: (B, Q, h, w), at the finest
    stride of the network.
    """

    class_logits: Tensor
    mask_logits: Tensor
