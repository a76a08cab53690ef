"""MAL's mean field against a straightforward version of it: time and peak extra memory, as ratios.

Run with `-s` to see the ratios; see benchmarks/README.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.measuring import cpu_seconds, extra_mib, needs_peak_memory, run_alone
from pipeline.methods.mal.mean_field import refine
from pipeline.params import MeanField

SETTINGS = MeanField(kernel=3, zeta=0.1, iterations=100, clamp=(0.1, 0.9))
IMAGES = 8
CASES = [(128, "scenes"), (128, "noise"), (512, "scenes")]  # side in pixels, content
ROUNDS = {128: 15, 512: 1}

Data = tuple[Tensor, Tensor, Tensor]  # images, probabilities, boxes
Refine = Callable[[Tensor, Tensor, Tensor], Tensor]


def ours(images: Tensor, probabilities: Tensor, boxes: Tensor) -> Tensor:
    return refine(images, probabilities, boxes, SETTINGS)


def unfolded(images: Tensor, probabilities: Tensor, boxes: Tensor) -> Tensor:
    """The definition: products as sums of logarithms, over windows made with `unfold`."""
    distance = (_windows(images) - images[:, :, None]).square().sum(dim=1)
    inside = _windows(torch.ones_like(images[:, :1]))[:, 0]
    kernel = torch.exp(-distance / (2 * SETTINGS.zeta**2)) * inside
    messages = (probabilities * boxes).clamp(*SETTINGS.clamp)
    for _ in range(SETTINGS.iterations):
        ahead = boxes * (kernel * _windows(messages.log()[:, None])[:, 0]).sum(dim=1).exp()
        behind = (kernel * _windows((1 - messages).log()[:, None])[:, 0]).sum(dim=1).exp()
        messages = (ahead / (ahead + behind + 1e-6)).clamp(*SETTINGS.clamp)
    return messages > 0.5


def _windows(maps: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, kernel^2, H, W)."""
    size = SETTINGS.kernel
    windows = F.unfold(maps, size, padding=size // 2)
    return windows.view(*maps.shape[:2], size**2, *maps.shape[2:])


VERSIONS: tuple[Refine, Refine] = (ours, unfolded)


def inputs(side: int, content: str) -> Data:
    """Scenes: smooth regions with edges and some noise, smooth masks.  Noise: nothing has a neighbour."""
    draw = torch.Generator().manual_seed(0)
    coarse = torch.randn(IMAGES, 4, 16, 16, generator=draw)
    smooth = F.interpolate(coarse, size=(side, side), mode="bilinear")
    noise = torch.randn(IMAGES, 3, side, side, generator=draw)
    images = noise if content == "noise" else (2 * smooth[:, :3]).round() / 2 + 0.05 * noise
    boxes = torch.zeros(IMAGES, side, side)
    boxes[:, side // 8 : -side // 8, side // 8 : -side // 8] = 1
    return images, (2 * smooth[:, 3]).sigmoid(), boxes


def measure_memory(which: int, side: int, content: str) -> float:
    """A call on a corner first, so that only the call on all of the data counts, not loading libraries."""
    torch.set_num_threads(1)
    version, data = VERSIONS[which], inputs(side, content)
    version(*(part[..., :24, :24].contiguous() for part in data))
    return extra_mib(lambda: version(*data))


@needs_peak_memory
@pytest.mark.parametrize(("side", "content"), CASES)
def test_ratio(side: int, content: str) -> None:
    """Same masks, but for pixels at even odds to float32; prints the ratios of time and memory."""
    torch.set_num_threads(1)
    data = inputs(side, content)
    flipped = int((ours(*data) != unfolded(*data)).sum())
    assert flipped <= 1e-5 * data[1].numel()
    works = [partial(version, *data) for version in VERSIONS]
    fast, slow = map(min, cpu_seconds(works, ROUNDS[side]))
    lean, heavy = (float(run_alone(__file__, which, side, content)) for which in range(2))
    print(
        f"\n{IMAGES} x {side}^2, {content}: {1e3 * fast:.0f} ms against {1e3 * slow:.0f} ms"
        f" ({slow / fast:.1f}x faster), {lean:.0f} MiB against {heavy:.0f} MiB"
        f" ({heavy / lean:.0f}x leaner), {flipped} pixels flipped"
    )


@pytest.mark.parametrize("which", [0, 1], ids=["ours", "unfolded"])
@pytest.mark.parametrize("content", ["scenes", "noise"])
def test_time(benchmark: Callable[..., object], content: str, which: int) -> None:
    """The table of pytest-benchmark (wall time)."""
    torch.set_num_threads(1)
    benchmark(VERSIONS[which], *inputs(128, content))


if __name__ == "__main__":
    print(measure_memory(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
