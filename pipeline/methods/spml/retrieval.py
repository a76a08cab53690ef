"""Classes by the nearest segments of a memory (SPML, arXiv 2105.00957, section 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.methods.spml.portions import portion

# Queries at a time, which say how long a block of the memory is: a longer one does not stay in the cache, and
# of shorter ones there are more results to compare.  benchmarks/README.md has the times.
QUERIES = 64


def nearest_labels(queries: Tensor, memory: Tensor, labels: Tensor, count: int) -> Tensor:
    """(n, k) labels of the `count` memory prototypes nearest to each query, the nearest first.

    queries: (n, c) and memory: (m, c), of unit length; labels: (m,); k = min(count, m).  The memory is gone
    through in blocks.
    """
    size = max(count, portion(QUERIES, queries.device))
    rows = portion(min(size, len(memory)), queries.device)
    return labels[torch.cat([_nearest(part, memory, count, size) for part in torch.split(queries, rows)])]


def _nearest(queries: Tensor, memory: Tensor, count: int, size: int) -> Tensor:
    """(n, k) places in the memory; the nearest of each block of `size` compete with those found before."""
    values, places = (queries @ memory[:size].T).topk(min(count, size, len(memory)), dim=1)
    for start in range(size, len(memory), size):
        block = queries @ memory[start : start + size].T
        found = block.topk(min(count, block.shape[1]), dim=1)
        values, order = torch.cat([values, found.values], dim=1).topk(count, dim=1)
        places = torch.cat([places, found.indices + start], dim=1).gather(1, order)
    return places


def votes(labels: Tensor, classes: int) -> Tensor:
    """(n, classes) float32 shares of the classes among the neighbours' labels (n, k).

    Their arg max is the majority, and the lowest class of several with as many votes.
    """
    return F.one_hot(labels, classes).float().mean(dim=1)
