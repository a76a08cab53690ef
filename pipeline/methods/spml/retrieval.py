"""Classes by the nearest segments of a memory (SPML, arXiv 2105.00957, section 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.methods.spml.portions import portion


def nearest_labels(queries: Tensor, memory: Tensor, labels: Tensor, count: int) -> Tensor:
    """(n, k) labels of the `count` memory prototypes nearest to each query, the nearest first.

    queries: (n, c) and memory: (m, c), of unit length; labels: (m,); k = min(count, m).  The memory is gone
    through in blocks: each block's nearest compete with those found before.
    """
    size = max(count, portion(len(queries), queries.device))
    values, places = queries.new_empty(len(queries), 0), labels.new_empty(len(queries), 0)
    for start in range(0, len(memory), size):
        block = queries @ memory[start : start + size].T
        found = block.topk(min(count, block.shape[1]), dim=1)
        values = torch.cat([values, found.values], dim=1)
        places = torch.cat([places, found.indices + start], dim=1)
        values, order = values.topk(min(count, values.shape[1]), dim=1)
        places = places.gather(1, order)
    return labels[places]


def votes(labels: Tensor, classes: int) -> Tensor:
    """(n, classes) float32 shares of the classes among the neighbours' labels (n, k).

    Their arg max is the majority, and the lowest class of several with as many votes.
    """
    return F.one_hot(labels, classes).float().mean(dim=1)
