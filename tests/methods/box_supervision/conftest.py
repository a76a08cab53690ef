"""The pairwise loss written out pixel by pixel from its definition."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

NaivePairwise = Callable[..., Tensor]


@pytest.fixture(scope="session")
def naive_pairwise() -> NaivePairwise:
    """Section 7's formula on log-probabilities, one neighbour after the other, without any short cut."""

    def loss(logits: Tensor, masks: Tensor, pairs: Tensor, images: Tensor, dilation: int) -> Tensor:
        size = round((pairs.shape[1] + 1) ** 0.5)
        reach, (height, width) = size // 2 * dilation, logits.shape[1:]
        same, other = F.logsigmoid(logits), F.logsigmoid(-logits)
        padded = [F.pad(part, (reach, reach, reach, reach)) for part in (same, other)]
        total, counted = logits.new_zeros(()), 0
        cells = [(row, column) for row in range(size) for column in range(size)]
        cells.remove((size // 2, size // 2))
        for j, (row, column) in enumerate(cells):
            rows = slice(row * dilation, row * dilation + height)
            columns = slice(column * dilation, column * dilation + width)
            joint = -torch.logaddexp(same + padded[0][:, rows, columns], other + padded[1][:, rows, columns])
            weights = pairs[images, j] & masks
            total = total + (joint * weights).sum()
            counted += int(weights.sum())
        return total / max(counted, 1)

    return loss
