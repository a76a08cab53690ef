"""A classifier of image tags that is a linear function of a feature map, so that the map can be asked why."""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from pipeline import params
from pipeline.errors import UserError
from pipeline.models.backbones import Backbone, build_backbone, load_backbone
from pipeline.models.normalise import Normalise
from pipeline.models.strides import cut_off, keep_resolution


class TagClassifier(nn.Module):
    """A backbone's map, its mean over the image, a linear layer without bias (CAM, arXiv 1512.04150).

    Without a bias, the logits are the means of the `class_maps` before their negative values are cut off.
    """

    def __init__(self, backbone: Backbone, settings: params.TagClassifier, num_classes: int) -> None:
        """num_classes: K of the foreground; backbone: its last map is the one that is classified."""
        super().__init__()
        self.backbone = backbone
        self.classes = nn.Conv2d(backbone.channels[settings.map_stride], num_classes, 1, bias=False)
        self.normalise = Normalise(settings.pixel_mean, settings.pixel_std)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..255 to (B, K) logits, one question of yes or no for each class."""
        logits: Tensor = self.classes(self._features(images).mean(dim=(2, 3), keepdim=True))
        return logits[:, :, 0, 0]

    def class_maps(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..255 to (B, K, h, w), 0 or more: how much each place speaks for each class."""
        maps: Tensor = self.classes(self._features(images))
        return F.relu(maps)

    def _features(self, images: Tensor) -> Tensor:
        return self.backbone.maps(self.normalise(images.float()))[-1]


def build_classifier(
    settings: params.TagClassifier, num_classes: int, start: Path | None = None
) -> TagClassifier:
    """The classifier, its backbone from the weights in `start`; others from torch's global generator.

    Raises UserError for a backbone that is not to be had or has no such map, and for weights that do not fit.
    """
    name, stride = settings.backbone, settings.map_stride
    backbone = build_backbone(
        name,
        frozen_stages=settings.frozen_stages,
        frozen_batchnorm=settings.frozen_batchnorm,
        single_map=True,
    )
    if stride not in backbone.channels:
        raise UserError(
            "params.yaml",
            name,
            f"has no map of stride {stride}: its maps have the strides {sorted(backbone.channels)}",
            "correct map_stride",
        )
    if start is not None:
        load_backbone(backbone, start)
    cut_off(backbone, stride)
    keep_resolution(backbone, settings.output_stride, name)
    return TagClassifier(backbone, settings, num_classes)
