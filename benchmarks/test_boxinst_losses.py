"""BoxInst's pairwise loss against a straightforward version of it: time and peak extra memory, as ratios.

Run with `-s` to see the ratios; see benchmarks/README.md.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.methods.boxinst.losses import pairwise_loss
from pipeline.methods.boxinst.targets import similar_pairs

PROPOSALS, HEIGHT, WIDTH = 64, 100, 152  # one image of 400 x 608 pixels, stride 4
SIZE, DILATION, THRESHOLD = 3, 2, 0.3
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


def cpu_seconds(data: tuple[Tensor, Tensor, Tensor], rounds: int = 31) -> list[float]:
    """Median CPU time of a step of each loss; the two take turns, so that other load meets both."""
    times: list[list[float]] = [[] for _ in LOSSES]
    for _ in range(rounds):
        for loss, record in zip(LOSSES, times, strict=True):
            start = time.process_time()
            step(loss, *data)
            record.append(time.process_time() - start)
    return [statistics.median(record) for record in times]


def peak_extra_mib(which: int, boxes: str) -> float:
    """Growth of the peak resident size over one step, in a process of its own, in MiB."""
    command = [sys.executable, __file__, str(which), boxes]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def measure_memory(which: int, boxes: str) -> float:
    """One step on a corner first, so that only the step on all of the data counts, not loading libraries."""
    torch.set_num_threads(1)
    loss, data = LOSSES[which], inputs(boxes)
    step(loss, *(part[..., :8, :8].contiguous() for part in data))
    # Resets the peak to the present size: making the inputs took more memory than it left behind.
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak_kib()
    step(loss, *data)
    return (_peak_kib() - before) / 1024


def _peak_kib() -> int:
    """Peak resident size of this process alone; `ru_maxrss` would include that of the parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads peak memory from Linux's /proc")
@pytest.mark.parametrize("boxes", BOXES)
def test_ratio(boxes: str) -> None:
    """Same value and gradient; prints how many times less time and memory ours takes."""
    torch.set_num_threads(1)
    data = inputs(boxes)
    (value, gradient), (expected, expected_gradient) = (step(loss, *data) for loss in LOSSES)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-3, atol=1e-8)
    fast, slow = cpu_seconds(data)
    lean, heavy = (peak_extra_mib(which, boxes) for which in range(2))
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
