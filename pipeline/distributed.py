"""What a process of a distributed run needs to know; every function also works in a single process."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def active() -> bool:
    """Whether this process belongs to a process group (`accelerate launch`, `torchrun`)."""
    return dist.is_available() and dist.is_initialized()


def process_index() -> int:
    """This process's index, from 0; 0 without a process group."""
    return dist.get_rank() if active() else 0


def process_count() -> int:
    """How many processes train together; 1 without a process group."""
    return dist.get_world_size() if active() else 1


def is_main() -> bool:
    """Whether this process is the one that writes files and prints."""
    return process_index() == 0


def mean_over_processes(value: Tensor) -> Tensor:
    """Mean of a tensor over all processes, of its shape; without a process group `value` itself.

    For what losses are divided by (numbers of objects, sums of weights): no gradient flows through it.
    Integers become float32, since a mean of counts need not be whole.  All processes must call it, in
    the same order, with tensors of equal shape on their own devices.
    """
    if not value.is_floating_point():
        value = value.to(torch.float32)
    if process_count() == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / process_count()


def gather_objects(value: Any) -> list[Any]:
    """One picklable value per process, in order of the process index; known to all processes."""
    if process_count() == 1:
        return [value]
    values: list[Any] = [None] * process_count()
    dist.all_gather_object(values, value)
    return values


def first_object(value: Any) -> Any:
    """The main process's value, known to all processes."""
    if process_count() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]
