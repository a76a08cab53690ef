"""Pixels as a network reads them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalise(nn.Module):
    """Subtracts the mean and divides by the deviation; padding of known sizes is zero *after* that.

    mean, std: in 0..255, in the order of channels the network reads; reverse_channels: that is BGR.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], *, reverse_channels: bool = False
    ) -> None:
        super().__init__()
        self.reverse_channels = reverse_channels
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor, sizes: Sequence[tuple[int, int]] | None = None) -> Tensor:
        """(B, 3, H, W) float RGB in 0..255 to the same shape.

        sizes: (height, width) of each image within its padding; None without padding.
        """
        if self.reverse_channels:
            images = images.flip(1)
        images = (images - self.mean) / self.std
        for image, (height, width) in zip(images, [] if sizes is None else sizes, strict=sizes is not None):
            image[:, height:] = 0
            image[:, :, width:] = 0
        return images
