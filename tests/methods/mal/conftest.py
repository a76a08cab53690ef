"""MAL's parity vectors, its published settings, and the mean field written out from its definition."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.params import Mal, MeanField

NaiveMeanField = Callable[..., Tensor]


@pytest.fixture(scope="session")
def load(load_mal: Callable[[str], dict[str, Tensor]]) -> Callable[[str], dict[str, Tensor]]:
    """Arrays of one vector file as tensors."""
    return load_mal


@pytest.fixture(scope="session")
def published() -> MeanField:
    """The released settings of the mean field."""
    return MeanField(kernel=3, zeta=0.1, iterations=100, clamp=(0.1, 0.9))


@pytest.fixture(scope="session")
def naive_mean_field() -> NaiveMeanField:
    """Section 6.3's formula in float64, products as sums of logarithms: the messages at the end."""

    def unfold(maps: Tensor, size: int) -> Tensor:
        """(B, C, H, W) -> (B, C, size^2, H, W), 0 outside."""
        windows = F.unfold(maps, size, padding=size // 2)
        return windows.view(*maps.shape[:2], size**2, *maps.shape[2:])

    def run(images: Tensor, probabilities: Tensor, boxes: Tensor | None, settings: MeanField) -> Tensor:
        images, probabilities = images.double(), probabilities.double()
        boxes = torch.ones_like(probabilities) if boxes is None else boxes.double()
        size = settings.kernel
        distances = (unfold(images, size) - images[:, :, None]).square().sum(dim=1)
        inside = unfold(torch.ones_like(images[:, :1]), size)[:, 0]
        kernel = torch.exp(-distances / (2 * settings.zeta**2)) * inside
        messages = (probabilities * boxes).clamp(*settings.clamp)
        for _ in range(settings.iterations):
            ahead = boxes * (kernel * unfold(messages.log()[:, None], size)[:, 0]).sum(dim=1).exp()
            behind = (kernel * unfold((1 - messages).log()[:, None], size)[:, 0]).sum(dim=1).exp()
            messages = (ahead / (ahead + behind + 1e-6)).clamp(*settings.clamp)
        return messages

    return run


@pytest.fixture(scope="session")
def released(published: MeanField) -> Mal:
    """The released weights and warm-ups; what the losses do not read is left out."""
    return Mal.model_construct(
        mil_weight=4.0, crf_weight=0.5, mil_warmup=1000, crf_warmup=4000, mean_field=published
    )
