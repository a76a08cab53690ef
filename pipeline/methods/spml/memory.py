"""Segments of the last steps, which later pixels are contrasted with, too."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import torch
from torch import Tensor

from pipeline.methods.spml.relations import Others

State = list[dict[str, Tensor]]


class MemoryBank:
    """The segments of the last `steps` steps: prototypes without gradient, labels and tags.

    No relation asks which image a remembered segment is from, so that images are not kept.
    """

    def __init__(self, steps: int) -> None:
        self._held: deque[Others] = deque(maxlen=steps)

    def push(self, parts: list[Others]) -> None:
        """Remember the segments of one step, of all processes, and forget the oldest step."""
        segments = joined(parts)
        if segments is not None and self._held.maxlen:
            self._held.append(replace(segments, prototypes=segments.prototypes.detach()))

    def held(self) -> list[Others]:
        """The steps that are remembered, the oldest first."""
        return list(self._held)

    def state(self) -> State:
        """What `restore` takes, as plain tensors."""
        return [{"prototypes": one.prototypes, "labels": one.labels, "tags": one.tags} for one in self._held]

    def restore(self, state: State, device: torch.device) -> None:
        """Hold what `state` gave, on `device`, and nothing else."""
        self._held.clear()
        for one in state:
            self._held.append(Others(*(one[name].to(device) for name in ("prototypes", "labels", "tags"))))


def joined(parts: list[Others]) -> Others | None:
    """All segments in one; None without a part."""
    if not parts:
        return None
    return Others(
        torch.cat([part.prototypes for part in parts]),
        torch.cat([part.labels for part in parts]),
        torch.cat([part.tags for part in parts]),
    )
