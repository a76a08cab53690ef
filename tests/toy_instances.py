"""Images that a detector learns in seconds, and how to compare what it finds in them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.tv_tensors import Image, Mask

from pipeline.structures import Sample, Target, boxes_xyxy


def drawn(seed: int, size: tuple[int, int] = (64, 64), objects: int = 2, enlarged: int = 1) -> Sample:
    """Bright discs and dark squares on grey noise; the original is `enlarged` times as large."""
    draw = torch.Generator().manual_seed(seed)
    height, width = size
    image = torch.randint(90, 150, (3, height, width), dtype=torch.uint8, generator=draw)
    y, x = torch.arange(height)[:, None] + 0.5, torch.arange(width)[None] + 0.5
    masks = torch.zeros(objects, height, width, dtype=torch.bool)
    for index in range(objects):
        radius = float(9 + 4 * torch.rand((), generator=draw))
        centre_x, centre_y = 16 + 30 * index, float(20 + (height - 40) * torch.rand((), generator=draw))
        disc = (x - centre_x) ** 2 + (y - centre_y) ** 2 <= radius**2
        square = (x - centre_x).abs().maximum((y - centre_y).abs()) <= radius
        masks[index] = square if index % 2 else disc
        image[:, masks[index]] = 20 if index % 2 else 240
    boxes = []
    for mask in masks:
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        boxes.append([int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1])
    target = Target(
        boxes_xyxy(torch.tensor(boxes, dtype=torch.float32), size), torch.arange(objects) % 2, Mask(masks)
    )
    return Sample(Image(image), target, seed, (height * enlarged, width * enlarged))


def total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def iou(one: Tensor, other: Tensor) -> float:
    return float((one & other).sum() / (one | other).sum().clamp(min=1))


class Drawn(Dataset[Sample]):
    """Six images that do not depend on the draw."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        return drawn(key[0], size=(32, 64))


class Stopped(Exception):
    """In place of a kill."""
