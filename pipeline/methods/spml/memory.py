"""Segments of the last steps, which later pixels are contrasted with, too."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from pipeline.methods.spml.relations import Others


class MemoryBank:
    """The segments of the last `steps` steps: prototypes without gradient, labels and tags.

    No relation asks which image a remembered segment is from, so that images are not kept.
    """

    def __init__(self, steps: int) -> None:
        self._held: deque[Others] = deque(maxlen=steps)

    def push(self, segments: Others) -> None:
        """Remember the segments of one step and forget the oldest step."""
        self._held.append(Others(segments.prototypes.detach(), segments.labels, segments.tags))

    def held(self) -> list[Others]:
        """The steps that are remembered, the oldest first."""
        return list(self._held)

    def state(self) -> list[dict[str, Tensor]]:
        """What `restore` takes, as plain tensors."""
        return [{"prototypes": one.prototypes, "labels": one.labels, "tags": one.tags} for one in self._held]

    def restore(self, state: list[dict[str, Tensor]], device: torch.device) -> None:
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
