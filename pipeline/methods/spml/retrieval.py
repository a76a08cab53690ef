"""Classes by the nearest segments of a memory (SPML, arXiv 2105.00957, section 3.3)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

NEIGHBOURS = 20


def nearest_labels(queries: Tensor, memory: Tensor, labels: Tensor, count: int = NEIGHBOURS) -> Tensor:
    """(n, k) labels of the `count` memory prototypes nearest to each query, the nearest first.

    queries: (n, c) and memory: (m, c), of unit length; labels: (m,); k = min(count, m).
    """
    similarities = queries @ memory.T
    return labels[similarities.topk(min(count, len(memory)), dim=1).indices]


def votes(labels: Tensor, classes: int) -> Tensor:
    """(n, classes) float32 shares of the classes among the neighbours' labels (n, k).

    Their arg max is the majority, and the lowest class of several with as many votes.
    """
    return F.one_hot(labels, classes).float().mean(dim=1)
