"""Mask2Former's decoders against transformers' own at equal weights: time and memory of a training step.

Run with `-s` to see the ratios; see benchmarks/README.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoder,
    Mask2FormerTransformerModule,
)

from benchmarks.measuring import cpu_seconds, extra_mib, needs_peak_memory, run_alone
from pipeline import params
from pipeline.models.mask2former.network import Mask2Former, build_mask2former

CASES = ("demo", "demo, fine", "published")
ROUNDS = {"demo": 61, "demo, fine": 31, "published": 5}
WIDTHS = {
    "demo": {"hidden_channels": 64, "heads": 4, "encoder_layers": 1, "decoder_layers": 2, "queries": 12},
    "published": {
        "hidden_channels": 256,
        "heads": 8,
        "encoder_layers": 6,
        "decoder_layers": 9,
        "queries": 100,
    },
}


def network(case: str) -> tuple[Mask2Former, list[tuple[int, int]]]:
    """The whole network and the sizes of the images of its batch."""
    widths = WIDTHS["published" if case == "published" else "demo"]
    model = params.Mask2Former(
        architecture="mask2former",
        backbone="small",
        frozen_stages=0,
        frozen_batchnorm=False,
        drop_path=0.0,
        pixel_mean=(123.675, 116.28, 103.53),
        pixel_std=(58.395, 57.12, 57.375),
        pyramid="stages",
        feature_strides=(2, 4, 8, 16) if case == "demo, fine" else (4, 8, 16, 32),
        encoder_ffn_channels=1024 if case == "published" else 128,
        decoder_ffn_channels=2048 if case == "published" else 256,
        **widths,
    )
    torch.manual_seed(0)
    return build_mask2former(model, 3), [(256, 256)] * 2 if case == "published" else [(96, 96)] * 8


def librarys(network: Mask2Former) -> Mask2Former:
    """The same network with the library's decoders, which then share its weights."""
    ours: tuple[nn.Module, nn.Module] = (network.pixel_decoder, network.query_decoder)
    theirs = (
        Mask2FormerPixelDecoder(network.pixel_decoder.config, network.pyramid.channels),
        Mask2FormerTransformerModule(
            network.class_predictor.in_features, network.query_decoder.decoder.config
        ),
    )
    for their, our in zip(theirs, ours, strict=True):
        their.load_state_dict(our.state_dict())
    network.pixel_decoder, network.query_decoder = theirs
    return network


def step(network: Mask2Former, images: Tensor, sizes: list[tuple[int, int]]) -> Tensor:
    """Forward and backward; returns the sum of squares that stands for a loss."""
    parts = [part.square().mean() for prediction in network(images, sizes) for part in prediction]
    total = torch.stack(parts).sum()
    total.backward()
    return total.detach()


def work(case: str, which: int) -> Callable[[], Tensor]:
    """A step of ours (0) or of the library's (1)."""
    built, sizes = network(case)
    images = torch.rand(len(sizes), 3, *sizes[0], generator=torch.Generator().manual_seed(1)) * 255
    return partial(step, librarys(built) if which else built, images, sizes)


def measure_memory(case: str, which: int) -> float:
    torch.set_num_threads(1)
    call = work(case, which)
    work("demo", which)()  # so that loading libraries does not count
    return extra_mib(call)


@needs_peak_memory
@pytest.mark.parametrize("case", CASES)
def test_ratio(case: str) -> None:
    """Same loss; prints the ratios of time and memory."""
    torch.set_num_threads(1)
    works = [work(case, which) for which in range(2)]
    torch.testing.assert_close(works[0](), works[1](), rtol=1e-5, atol=1e-5)
    fast, slow = map(min, cpu_seconds(works, ROUNDS[case]))
    lean, heavy = (float(run_alone(__file__, case, which)) for which in range(2))
    print(
        f"\n{case}: {1e3 * fast:.0f} ms against {1e3 * slow:.0f} ms ({slow / fast:.2f}x faster),"
        f" {lean:.0f} MiB against {heavy:.0f} MiB"
    )


@pytest.mark.parametrize("which", [0, 1], ids=["ours", "transformers"])
@pytest.mark.parametrize("case", CASES[:2])
def test_time(benchmark: Callable[..., object], case: str, which: int) -> None:
    """The table of pytest-benchmark (wall time)."""
    torch.set_num_threads(1)
    benchmark(work(case, which))


if __name__ == "__main__":
    print(measure_memory(sys.argv[1], int(sys.argv[2])))
