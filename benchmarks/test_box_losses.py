"""BoxInst's pairwise loss against a straightforward version of it: time and peak extra memory, as ratios.

Run with `-s` to see the ratios; see benchmarks/README.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from statistics import median

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.measuring import cpu_seconds, extra_mib, needs_peak_memory, run_alone
from pipeline.methods.box_supervision.losses import pairwise_loss
from pipeline.methods.box_supervision.targets import similar_pairs

PROPOSALS, HEIGHT, WIDTH = 64, 100, 152  # one image of 400 x 608 pixels, stride 4
SIZE, DILATION, THRESHOLD = 3, 2, 0.3
ROUNDS = 31
BOXES = ["full", "typical"]  # every box covers the map; box sides from 5 entries up to half the map's

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def ours(logits: Tensor, masks: Tensor, similarity: Tensor) -> Tensor:
    images = torch.zeros(len(logits), dtype=torch.int64)
    return pairwise_loss(logits, masks, similar_pairs(similarity, THRESHOLD), images, dilation=DILATION)[0]


def unfolded(logits: Tensor, masks: Tensor, similarity: Tensor) -> Tensor:
    """The definition with `unfold`: all neighbours of both log-probabilities, and a weight for each."""
    same, other = F.logsigmoid(logits)[:, None], F.logsigmoid(-logits)[:, None]
    terms = -torch.logaddexp(same + _neighbours(same), other + _neighbours(other))
    weights = (similarity >= THRESHOLD).float() * masks[:, None].float()
    return (terms * weights).sum() / weights.sum().clamp(min=1)


def _neighbours(maps: Tensor) -> Tensor:
    """(N, 1, H, W) -> (N, SIZE^2 - 1, H, W)."""
    windows = F.unfold(maps, SIZE, dilation=DILATION, padding=SIZE // 2 * DILATION)
    windows = windows.view(len(maps), SIZE**2, *maps.shape[2:])
    return torch.cat((windows[:, : SIZE**2 // 2], windows[:, SIZE**2 // 2 + 1 :]), dim=1)


LOSSES: tuple[Loss, Loss] = (ours, unfolded)


def inputs(boxes: str) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(PROPOSALS, HEIGHT, WIDTH, generator=draw)
    similarity = 0.5 * torch.rand(1, SIZE**2 - 1, HEIGHT, WIDTH, generator=draw)  # 40 % pass
    masks = torch.zeros(PROPOSALS, HEIGHT, WIDTH, dtype=torch.bool)
    for mask in masks:
        (top, height), (left, width) = (_span(length, boxes, draw) for length in (HEIGHT, WIDTH))
        mask[top : top + height, left : left + width] = True
    return logits, masks, similarity


def _span(length: int, boxes: str, draw: torch.Generator) -> tuple[int, int]:
    if boxes == "full":
        return 0, length
    side = int(torch.randint(5, length // 2 + 1, (1,), generator=draw))
    return int(torch.randint(0, length - side + 1, (1,), generator=draw)), side


def step(loss: Loss, logits: Tensor, masks: Tensor, similarity: Tensor) -> tuple[Tensor, Tensor]:
    """Forward and backward."""
    logits = logits.detach().requires_grad_()
    value = loss(logits, masks, similarity)
    value.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    return value.detach(), logits.grad


def measure_memory(which: int, boxes: str) -> float:
    """One step on a corner first, so that only the step on all of the data counts, not loading libraries."""
    torch.set_num_threads(1)
    loss, data = LOSSES[which], inputs(boxes)
    step(loss, *(part[..., :8, :8].contiguous() for part in data))
    return extra_mib(lambda: step(loss, *data))


@needs_peak_memory
@pytest.mark.parametrize("boxes", BOXES)
def test_ratio(boxes: str) -> None:
    """Same value and gradient; prints how many times less time and memory ours takes."""
    torch.set_num_threads(1)
    data = inputs(boxes)
    (value, gradient), (expected, expected_gradient) = (step(loss, *data) for loss in LOSSES)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-3, atol=1e-8)
    fast, slow = map(median, cpu_seconds([partial(step, loss, *data) for loss in LOSSES], ROUNDS))
    lean, heavy = (float(run_alone(__file__, which, boxes)) for which in range(2))
    print(
        f"\n{boxes} boxes: {1e3 * fast:.1f} ms against {1e3 * slow:.1f} ms ({slow / fast:.1f}x faster),"
        f" {lean:.0f} MiB against {heavy:.0f} MiB ({heavy / lean:.0f}x leaner)"
    )


@pytest.mark.parametrize("which", [0, 1], ids=["ours", "unfolded"])
@pytest.mark.parametrize("boxes", BOXES)
def test_time(benchmark: Callable[..., object], boxes: str, which: int) -> None:
    """The table of pytest-benchmark (wall time)."""
    torch.set_num_threads(1)
    benchmark(step, LOSSES[which], *inputs(boxes))


if __name__ == "__main__":
    print(measure_memory(int(sys.argv[1]), sys.argv[2]))
