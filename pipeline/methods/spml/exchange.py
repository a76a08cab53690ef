"""Segments of the other processes: pixels are contrasted over the whole batch, wherever its images are."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from pipeline.distributed import process_count, process_index
from pipeline.methods.spml.relations import Others


def gather(segments: Others) -> list[Others]:
    """The segments of every process, in the order of the processes; prototypes with their gradient.

    A process's own are the object given.  Without a process group that is all.  All processes must call it
    together, and use what it gives in their losses.
    """
    if process_count() == 1:
        return [segments]
    sizes = [
        int(size) for size in _all_gather(torch.tensor([len(segments.labels)], device=segments.labels.device))
    ]
    parts = (
        _AllGather.apply(_grown(segments.prototypes, max(sizes))),
        torch.stack(_all_gather(_grown(segments.labels, max(sizes)))),
        torch.stack(_all_gather(_grown(segments.tags.to(torch.uint8), max(sizes)))).bool(),
    )
    gathered = [Others(*(part[index, :size] for part in parts)) for index, size in enumerate(sizes)]
    gathered[process_index()] = segments
    return gathered


def of_others(gathered: list[Others]) -> list[Others]:
    """Those of the other processes."""
    return [part for index, part in enumerate(gathered) if index != process_index()]


def _grown(values: Tensor, length: int) -> Tensor:
    """With zeros at the end up to the length, since all processes must send as much."""
    return torch.cat([values, values.new_zeros(length - len(values), *values.shape[1:])])


def _all_gather(values: Tensor) -> list[Tensor]:
    received = [torch.empty_like(values) for _ in range(process_count())]
    dist.all_gather(received, values.contiguous())
    return received


class _AllGather(torch.autograd.Function):
    """(n, ...) to (processes, n, ...); backwards, the sum of all processes' gradients for the own part."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return torch.stack(_all_gather(values))

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        total = slopes[0].contiguous()
        dist.all_reduce(total)
        return total[process_index()]
