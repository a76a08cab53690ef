"""The nearest segments of a memory, in blocks, against the whole memory at once: CPU time, as ratios.

Run with `-s` to see the ratios; see benchmarks/README.md.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks.measuring import cpu_seconds
from pipeline.methods.spml.clustering import normalise
from pipeline.methods.spml.portions import CPU_ENTRIES
from pipeline.methods.spml.retrieval import nearest_labels

QUERIES, CHANNELS, NEIGHBOURS = 288, 64, 20  # the segments of an image and its mirror image on a grid of 12
ROUNDS = 5


def at_once(queries: Tensor, memory: Tensor, labels: Tensor) -> Tensor:
    """As few queries at a time as fit beside the whole memory."""
    parts = torch.split(queries, max(1, CPU_ENTRIES // len(memory)))
    return labels[torch.cat([(part @ memory.T).topk(NEIGHBOURS, dim=1).indices for part in parts])]


@pytest.mark.parametrize("size", [3_000, 100_000, 500_000])
def test_ratio(size: int) -> None:
    """The same labels; prints the ratio of time."""
    torch.set_num_threads(1)
    draw = torch.Generator().manual_seed(0)
    memory, queries = (normalise(torch.randn(count, CHANNELS, generator=draw)) for count in (size, QUERIES))
    labels = torch.randint(0, 21, (size,), generator=draw)
    assert torch.equal(nearest_labels(queries, memory, labels, NEIGHBOURS), at_once(queries, memory, labels))
    ours, whole = map(
        min,
        cpu_seconds(
            [
                lambda: nearest_labels(queries, memory, labels, NEIGHBOURS),
                lambda: at_once(queries, memory, labels),
            ],
            ROUNDS,
        ),
    )
    print(f"\n{size} segments: {1e3 * ours:.0f} ms, at once {1e3 * whole:.0f} ms, {whole / ours:.1f}x faster")
