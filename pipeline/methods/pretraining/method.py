"""Pre-training by classification of single procedural objects: the demo's stand-in for downloaded weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision.tv_tensors import Image

from pipeline import params
from pipeline.data.shapes.dataset import STREAMS
from pipeline.data.shapes.outlines import class_names
from pipeline.data.shapes.scene import generate_single
from pipeline.data.transforms import augment
from pipeline.engine.devices import reproducible
from pipeline.engine.lock import discard
from pipeline.engine.loop import FitResult, fit
from pipeline.models.backbones import Backbone, build_maps
from pipeline.structures import Sample, Target, boxes_xyxy

VAL_IMAGES = 400
WARMUP = 0.04  # share of the steps
PIXEL_MEAN, PIXEL_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # ImageNet's, RGB, of 255


class Classifier(nn.Module):
    """A backbone, the average of its coarsest map, and a linear layer."""

    def __init__(self, backbone: Backbone, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.linear = nn.Linear(backbone.channels[max(backbone.channels)], num_classes)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(PIXEL_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(PIXEL_STD)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..255 to (B, classes) logits."""
        features = self.backbone((images.float() - self.mean) / self.std)
        logits: Tensor = self.linear(features[max(features)].mean(dim=(2, 3)))
        return logits


class Classification:
    """Cross-entropy on images that carry one label each; what the engine needs to train a `Classifier`."""

    def __init__(self, module: Classifier) -> None:
        self.module: nn.Module = module

    def losses(self, batch: list[Sample], step: int) -> dict[str, Tensor]:
        """Mean cross-entropy, and the share of the batch that was right."""
        labels = torch.cat([sample.target.labels for sample in batch])
        logits = self.module(_stack(batch))
        return {
            "class": F.cross_entropy(logits, labels),
            "metric_accuracy": (logits.argmax(dim=1) == labels).float().mean(),
        }

    def after_step(self, step: int) -> None:
        """Nothing follows a step."""

    @torch.no_grad()
    def accuracy(self, dataset: SingleObjects, batch_size: int) -> float:
        """Share of the dataset, without augmentation, that is classified correctly."""
        self.module.eval()
        device = next(self.module.parameters()).device
        right = 0
        for start in range(0, len(dataset), batch_size):
            logits = self.module(dataset.images[start : start + batch_size].to(device))
            right += int((logits.argmax(dim=1).cpu() == dataset.labels[start : start + batch_size]).sum())
        return right / len(dataset)


class SingleObjects(Dataset[Sample]):
    """Images of one object each, drawn once and kept in memory.

    images: (N, 3, size, size) uint8; labels: (N,) int64.  A key is (index, draw), as the engine wants it.
    """

    def __init__(self, section: params.ShapesPretraining, stream: str, count: int) -> None:
        """Draw `count` images; `stream` names a sequence of seeds that no dataset and no other stream has."""
        scenes = [
            generate_single((section.seed, STREAMS[stream], index), section.size, section.hard)
            for index in range(count)
        ]
        images = np.stack([scene.image for scene in scenes]).transpose(0, 3, 1, 2)
        self.images = torch.from_numpy(np.ascontiguousarray(images))
        self.labels = torch.from_numpy(np.concatenate([scene.labels for scene in scenes]))
        self.seed, self.augmentation = section.seed, _flips(section.size)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        index, draw = key
        size = (self.images.shape[2], self.images.shape[3])
        box = boxes_xyxy(torch.tensor([0.0, 0.0, size[1], size[0]]), size)
        target = Target(box, self.labels[index : index + 1])
        sample = Sample(Image(self.images[index]), target, index, size)
        return augment(sample, self.augmentation, np.random.default_rng((self.seed, draw, index)))


def pretrain(
    section: params.ShapesPretraining, checkpoint: Path, key: str, name: str
) -> tuple[Backbone, dict[str, float], FitResult]:
    """Train a backbone to name single objects.

    checkpoint, key, name: as `fit` takes them.  Returns the backbone, its figures (`val_accuracy` on
    images of a stream of their own), and those of the training.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(section.seed)
        backbone = build_maps(section.architecture)
        method = Classification(Classifier(backbone, len(class_names(section.hard))))
    result = fit(
        method,
        SingleObjects(section, "pretraining", section.images),
        _training(section),
        seed=section.seed,
        checkpoint=checkpoint,
        key=key,
        name=name,
    )
    val = SingleObjects(section, "pretraining_val", VAL_IMAGES)
    with reproducible(section.threads):
        accuracy = method.accuracy(val, section.batch_size)
    figures = {
        "val_accuracy": accuracy,
        "val_images": VAL_IMAGES,
        "train_images": section.images,
        "steps": section.steps,
    }
    discard(checkpoint)
    return backbone, figures, result


def _training(section: params.ShapesPretraining) -> params.Training:
    """The recipe: AdamW, a short warm-up, cosine to 0."""
    return params.Training(
        duration="steps",
        steps=section.steps,
        batch_size=section.batch_size,
        optimizer="adamw",
        learning_rate=section.learning_rate,
        backbone_rate=1.0,
        momentum=0.9,
        betas=(0.9, 0.999),
        weight_decay=section.weight_decay,
        norm_weight_decay=0.0,
        schedule="cosine",
        milestones=(),
        poly_power=0.9,
        final_rate=0.0,
        warmup_steps=round(WARMUP * section.steps),
        warmup_start=0.001,
        clip_norm=5.0,
        ema=0.0,
        group_by_aspect=False,
        repeat_threshold=0.0,
        precision="auto",
        workers=0,
        threads=section.threads,
        checkpoint_every=500,
        log_every=50,
    )


def _flips(size: int) -> params.Augmentation:
    return params.Augmentation(
        short_sides=(size,),
        max_side=size,
        scale_range=(1.0, 1.0),
        horizontal_flip=0.5,
        vertical_flip=0.5,
        transpose=0.5,
        crop=(),
        pad_value=0,
        colors="as_they_are",
    )


def _stack(batch: list[Sample]) -> Tensor:
    return torch.stack([sample.image.as_subclass(Tensor) for sample in batch])
