"""Averaged weights: an exponential moving average of a module."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def ema_momentum(step: int, momentum: float) -> float:
    """min(momentum, (1 + step) / (10 + step)): short memory first, so that the start is soon forgotten."""
    return min(momentum, (1 + step) / (10 + step))


class AveragedWeights:
    """A copy of a module whose parameters follow the original's slowly and whose buffers equal them.

    The copy is in evaluation mode and has no gradients.  It suits as the model to save and as a teacher.
    """

    def __init__(self, module: nn.Module, momentum: float) -> None:
        self.module = copy.deepcopy(module).requires_grad_(False).eval()
        self.momentum = momentum

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """average = m * average + (1 - m) * module, with m = ema_momentum(step); `step` from 0."""
        average = get_ema_multi_avg_fn(ema_momentum(step, self.momentum))  # type: ignore[no-untyped-call]
        average(list(self.module.parameters()), list(module.parameters()), None)
        for own, buffer in zip(self.module.buffers(), module.buffers(), strict=True):
            own.copy_(buffer)
