"""Averaged weights: an exponential moving average of a module, and a teacher that follows a student."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def ema_momentum(step: int, momentum: float) -> float:
    """min(momentum, (1 + step) / (10 + step)): short memory first, so that the start is soon forgotten."""
    return min(momentum, (1 + step) / (10 + step))


def growing_momentum(step: int, momentum: float) -> float:
    """min(momentum, 1 - 1 / (step + 1)): a copy at step 0, then the mean of all so far, then an average."""
    return min(momentum, 1 - 1 / (step + 1))


@torch.no_grad()
def follow(average: nn.Module, module: nn.Module, momentum: float, *, buffers: bool = False) -> None:
    """average = momentum * average + (1 - momentum) * module, of parameters and, with `buffers`, of float32
    buffers (running statistics, for example); all other buffers stay.

    A mean teacher's step (arXiv 1703.01780, section 2); both modules have the same tensors in one order.
    Momentum 0 copies exactly.
    """
    update = get_ema_multi_avg_fn(momentum)  # type: ignore[no-untyped-call]
    own, followed = ([*each.parameters(), *(_float32(each) if buffers else ())] for each in (average, module))
    update(own, followed, None)


def _float32(module: nn.Module) -> list[Tensor]:
    return [buffer for buffer in module.buffers() if buffer.dtype == torch.float32]


class StudentAndTeacher(nn.Module):
    """Two networks in one module, so that they are saved together; the teacher has no gradients."""

    def __init__(self, student: nn.Module, teacher: nn.Module) -> None:
        super().__init__()
        self.student = student
        self.teacher = teacher.requires_grad_(False)


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
        follow(self.module, module, ema_momentum(step, self.momentum))
        for own, buffer in zip(self.module.buffers(), module.buffers(), strict=True):
            own.copy_(buffer)
