"""A training step of Mask2Former against the library's model and criterion: CPU time, as ratios.

Run with `-s` to see the ratios; see benchmarks/README.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerPixelDecoder

from benchmarks.measuring import cpu_seconds
from pipeline import params
from pipeline.methods.mask2former.criterion import MaskTargets, mask2former_losses
from pipeline.models.mask2former.network import Mask2Former, build_mask2former
from pipeline.models.mask2former.predictions import QueryPredictions
from tests.mask2former_batches import Batch, library_losses
from tests.mask2former_settings import PUBLISHED_LOSSES, small_mask2former

CLASSES = 3
Step = Callable[[], float]


@dataclass(frozen=True)
class Case:
    """A network and a batch of square images."""

    model: params.Mask2Former
    side: int  # pixels
    counts: tuple[int, ...]  # objects of each image
    rounds: int


def demo(points: int, rounds: int) -> Case:
    """The demo's network and batch, with more points than it has (256) or not."""
    model = small_mask2former(
        hidden_channels=64,
        encoder_ffn_channels=128,
        decoder_ffn_channels=256,
        queries=20,
        losses={**PUBLISHED_LOSSES.model_dump(), "points": points},
    )
    return Case(model, side=96, counts=(4, 3, 5, 4, 2, 3, 4, 3), rounds=rounds)


def published() -> Case:
    """The published R-50 on images of 256 pixels."""
    model = small_mask2former(
        backbone="resnet50",
        frozen_batchnorm=True,
        hidden_channels=256,
        heads=8,
        encoder_layers=6,
        decoder_layers=9,
        encoder_ffn_channels=1024,
        decoder_ffn_channels=2048,
        queries=100,
        losses=PUBLISHED_LOSSES.model_dump(),
    )
    return Case(model, side=256, counts=(7, 7), rounds=2)


CASES = {
    "demo, 256 points": demo(256, rounds=21),
    "demo, 784 points": demo(784, rounds=21),
    "demo, 12544 points": demo(12544, rounds=5),
    "R-50, 12544 points": published(),
}


class Encoder(nn.Module):
    """Our backbone in the library's model."""

    def __init__(self, network: Mask2Former) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> SimpleNamespace:
        sizes = [(images.shape[2], images.shape[3])] * len(images)
        network = self.network
        maps = network.pyramid(network.backbone, network.normalise(images, sizes))
        return SimpleNamespace(feature_maps=tuple(maps))


def library_model(network: Mask2Former, model: params.Mask2Former) -> nn.Module:
    """The library's whole model at equal settings, with the backbone and the weights of `network`."""
    losses = model.losses
    config = Mask2FormerConfig(
        backbone_config=SwinConfig(
            embed_dim=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 1, 1],
            out_features=["stage1", "stage2", "stage3", "stage4"],
        ),
        num_labels=CLASSES,
        feature_size=model.hidden_channels,
        mask_feature_size=model.hidden_channels,
        hidden_dim=model.hidden_channels,
        encoder_layers=model.encoder_layers,
        encoder_feedforward_dim=model.encoder_ffn_channels,
        decoder_layers=model.decoder_layers + 1,
        dim_feedforward=model.decoder_ffn_channels,
        num_attention_heads=model.heads,
        num_queries=model.queries,
        feature_strides=list(model.feature_strides),
        common_stride=model.feature_strides[0],
        train_num_points=losses.points,
    )
    library = Mask2FormerForUniversalSegmentation(config)
    level: Any = library.model.pixel_level_module
    level.encoder = Encoder(network)
    level.decoder = Mask2FormerPixelDecoder(config, feature_channels=list(network.pyramid.channels))
    level.decoder.load_state_dict(network.pixel_decoder.state_dict())
    library.model.transformer_module.load_state_dict(network.query_decoder.state_dict())
    library.class_predictor.load_state_dict(network.class_predictor.state_dict())
    return library.train()


def images_and_targets(case: Case) -> tuple[Tensor, list[MaskTargets]]:
    """Noise, and blobs to be found in it."""
    draw = torch.Generator().manual_seed(0)
    images = 255 * torch.rand(len(case.counts), 3, case.side, case.side, generator=draw)
    targets = []
    for count in case.counts:
        coarse = torch.randn(1, count, 5, 5, generator=draw)
        masks = F.interpolate(coarse, (case.side, case.side), mode="bilinear")[0] > 0.7
        targets.append(MaskTargets(torch.randint(CLASSES, (count,), generator=draw), masks))
    return images, targets


def step_of_ours(network: Mask2Former, images: Tensor, targets: list[MaskTargets], case: Case) -> float:
    torch.manual_seed(1)
    predictions = network(images, [(case.side, case.side)] * len(images))
    return _back(mask2former_losses(predictions, targets, case.model.losses))


def step_of_library(library: nn.Module, images: Tensor, targets: list[MaskTargets]) -> float:
    torch.manual_seed(1)
    output = library(
        pixel_values=images,
        mask_labels=[target.masks.float() for target in targets],
        class_labels=[target.labels for target in targets],
    )
    return _back({"loss": output.loss.sum()})


def _back(losses: dict[str, Tensor]) -> float:
    loss = torch.stack(list(losses.values())).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def steps(name: str) -> tuple[Step, Step]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    case = CASES[name]
    network = build_mask2former(case.model, CLASSES).train()
    library = library_model(network, case.model)
    images, targets = images_and_targets(case)
    return (
        partial(step_of_ours, network, images, targets, case),
        partial(step_of_library, library, images, targets),
    )


@pytest.mark.parametrize("name", CASES)
def test_step(name: str) -> None:
    """Forward, criterion and backward at equal loss; the optimiser's step is the same for both."""
    works = steps(name)
    values = [work() for work in works]
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    fast, slow = map(min, cpu_seconds(works, CASES[name].rounds))
    print(f"\n{name}: {1e3 * fast:.0f} ms against {1e3 * slow:.0f} ms ({slow / fast:.2f}x faster)")


@pytest.mark.parametrize("name", CASES)
def test_criterion(name: str) -> None:
    """The criterion alone, forward and backward, on the network's own predictions."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    case = CASES[name]
    images, targets = images_and_targets(case)
    with torch.no_grad():
        outputs = build_mask2former(case.model, CLASSES)(images, [(case.side, case.side)] * len(images))

    def work(losses: Callable[[Batch], dict[str, Tensor]]) -> float:
        torch.manual_seed(1)
        learning = [QueryPredictions(*(part.requires_grad_() for part in output)) for output in outputs]
        return _back(losses((learning, targets)))

    works = [
        partial(work, lambda batch: mask2former_losses(*batch, case.model.losses)),
        partial(work, lambda batch: library_losses(batch, case.model.losses)),
    ]
    values = [one() for one in works]
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    fast, slow = map(min, cpu_seconds(works, 5 * case.rounds))
    print(f"\n{name}: {1e3 * fast:.1f} ms against {1e3 * slow:.1f} ms ({slow / fast:.2f}x faster)")
