"""Classes by the nearest segments of a memory (SPML, arXiv 2105.00957, section 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.methods.spml.contrast import CPU_ENTRIES, GPU_ENTRIES

NEIGHBOURS = 20


def nearest_labels(queries: Tensor, memory: Tensor, labels: Tensor, count: int = NEIGHBOURS) -> Tensor:
    """(n, k) labels of the `count` memory prototypes nearest to each query, the nearest first.

    queries: (n, c) and memory: (m, c), of unit length; labels: (m,); k = min(count, m).
    """
    size = max(1, (GPU_ENTRIES if queries.is_cuda else CPU_ENTRIES) // max(len(memory), 1))
    nearest = [
        (part @ memory.T).topk(min(count, len(memory)), dim=1).indices for part in torch.split(queries, size)
    ]
    return labels[torch.cat(nearest)]


def votes(labels: Tensor, classes: int) -> Tensor:
    """(n, classes) float32 shares of the classes among the neighbours' labels (n, k).

    Their arg max is the majority, and the lowest class of several with as many votes.
    """
    return F.one_hot(labels, classes).float().mean(dim=1)
