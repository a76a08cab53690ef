"""Which resolution an object's mask is computed at: by the size of its box (MAL, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline import params


@dataclass(frozen=True)
class Scale:
    """factor: side of the pixel head's input over side of the encoder's map; weight: of the logits."""

    factor: float
    weight: float = 1.0


AS_IT_IS = Scale(1.0)
# Small, medium, large; and no size at all, of boxes on a limit where ranges are open: their logits are 0.
SCALES = (Scale(0.5), AS_IT_IS, Scale(2.0), Scale(1.0, weight=0.0))


class SizeGroups:
    """Sorts a batch by the size of the boxes, so that each size is computed in one go.

    Half-open ranges are [0, low), [low, high), [high, inf) with the squares of the settings'
    `size_limits`; open ones lack the limits themselves, as in the released code.
    """

    def __init__(self, model: params.AutoLabeler) -> None:
        low, high = model.size_limits
        self.limits = (low * low, high * high)
        self.open_ranges = model.size_ranges == "open"

    def index(self, areas: Tensor) -> Tensor:
        """(B,) box areas in image pixels to (B,) int64 indices into SCALES."""
        low, high = self.limits
        groups = (areas >= low).long() + (areas >= high).long()
        if self.open_ranges:
            groups[(areas == 0) | (areas == low) | (areas == high)] = len(SCALES) - 1
        return groups

    def apply(self, tokens: Tensor, areas: Tensor, compute: Callable[[Tensor, Scale], Tensor]) -> Tensor:
        """`compute` on the tokens (b, C, n, n) of each scale that occurs; (B, o, o) in the batch's order."""
        groups = self.index(areas)
        order = groups.argsort(stable=True)
        # The one moment at which the host waits for the device.
        counts = (groups[:, None] == torch.arange(len(SCALES), device=groups.device)).sum(dim=0).tolist()
        parts = torch.split(tokens[order.to(tokens.device)], counts)
        results = [compute(part, scale) for part, scale in zip(parts, SCALES, strict=True) if part.shape[0]]
        return torch.cat(results)[order.argsort().to(tokens.device)]
