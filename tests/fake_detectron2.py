"""Just enough of detectron2's interface to test what we do with it where it is not installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn


class Boxes:
    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class BitMasks:
    def __init__(self, tensor: Tensor) -> None:
        assert tensor.ndim == 3
        self.tensor = tensor


class Instances:
    """Fields of one image; `image_size` is (height, width)."""

    def __init__(self, image_size: tuple[int, int], **fields: Any) -> None:
        self.image_size = image_size
        for name, value in fields.items():
            setattr(self, name, value)


class BoxMode:
    XYXY_ABS = 0


def detector_postprocess(results: Instances, height: int, width: int) -> Instances:
    """Boxes scaled, in place as the original does; masks fill them."""
    scale = [width / results.image_size[1], height / results.image_size[0]]
    results.pred_boxes.tensor *= torch.tensor(scale * 2)
    masks = paste_masks_in_image(results.pred_masks[:, 0], results.pred_boxes.tensor, (height, width))
    return Instances(
        (height, width),
        pred_boxes=results.pred_boxes,
        pred_classes=results.pred_classes,
        scores=results.scores,
        pred_masks=masks,
    )


def paste_masks_in_image(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """The whole image, to see who cuts it; without boxes uint8, as the original."""
    if len(masks) == 0:
        return torch.zeros(0, *size, dtype=torch.uint8)
    return torch.ones(len(masks), *size, dtype=torch.bool)


_STORAGES: list[int] = []


@contextmanager
def event_storage(start_iter: int = 0) -> Iterator[None]:
    _STORAGES.append(start_iter)
    yield
    _STORAGES.pop()


class Heads(nn.Module):
    """Finds one object of class 1 per image, or none if `nothing`."""

    nothing = False

    def forward(
        self, images: Any, features: Any, proposals: Any, targets: Any
    ) -> tuple[list[Instances], Any]:
        count = 0 if self.nothing else 1
        found = [
            Instances(
                size,
                pred_boxes=Boxes(torch.tensor([[2.0, 4, 10, 12]])[:count]),
                pred_classes=torch.ones(count, dtype=torch.int64),
                scores=torch.full((count,), 0.9),
                pred_masks=torch.ones(count, 1, 4, 4),
            )
            for size in images.image_sizes
        ]
        return found, {}

    def forward_with_given_boxes(self, features: Any, instances: list[Instances]) -> list[Instances]:
        self.given = instances
        for part in instances:
            part.pred_masks = torch.ones(len(part.pred_boxes.tensor), 1, 4, 4)
        return instances


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bottom_up = nn.ModuleDict({"stem": nn.ModuleDict({"conv1": nn.Conv2d(3, 2, 1, bias=False)})})
        self.passes = 0

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        self.passes += 1
        return {"p2": self.bottom_up["stem"]["conv1"](images)}


class Network(nn.Module):
    """A GeneralizedRCNN whose losses are the mean of its features, and that keeps what it was given."""

    def __init__(self, config: Any = None) -> None:
        super().__init__()
        self.config, self.backbone, self.roi_heads = config, Backbone(), Heads()

    def preprocess_image(self, inputs: list[dict[str, Any]]) -> SimpleNamespace:
        sizes = [tuple(item["image"].shape[1:]) for item in inputs]
        images = [item["image"].float() for item in inputs]
        return SimpleNamespace(tensor=torch.stack(images), image_sizes=sizes)

    def proposal_generator(self, images: Any, features: Any, targets: Any) -> tuple[None, Any]:
        return None, {}

    def forward(self, inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        self.inputs, self.iterations = inputs, list(_STORAGES)
        mean = self.backbone(self.preprocess_image(inputs).tensor)["p2"].mean()
        return {"loss_cls": mean, "loss_mask": 2 * mean}


class Catalog(dict[str, Any]):
    def register(self, name: str, function: Any) -> None:
        self[name] = function


class Metadata(dict[str, Any]):
    def get(self, name: str, default: Any = None) -> SimpleNamespace:
        found = self.setdefault(name, SimpleNamespace())
        found.set = lambda **fields: vars(found).update(fields)
        return found


def config_node() -> SimpleNamespace:
    node = SimpleNamespace(INPUT=SimpleNamespace(), TEST=SimpleNamespace())
    node.MODEL = SimpleNamespace(
        META_ARCHITECTURE="GeneralizedRCNN",
        MASK_ON=True,
        BACKBONE=SimpleNamespace(),
        RESNETS=SimpleNamespace(),
        ROI_HEADS=SimpleNamespace(),
        RPN=SimpleNamespace(),
    )
    return node


def get_config(name: str) -> SimpleNamespace:
    if not name.startswith("COCO"):
        raise RuntimeError(f"{name} not available in Model Zoo!")
    node = config_node()
    node.MODEL.MASK_ON = "mask" in name
    return node


def install(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Make `import detectron2` find the fake; returns the two catalogs."""
    catalogs = SimpleNamespace(DatasetCatalog=Catalog(), MetadataCatalog=Metadata())
    contents: dict[str, dict[str, Any]] = {
        "detectron2": {},
        "detectron2.structures": {
            "BitMasks": BitMasks,
            "Boxes": Boxes,
            "BoxMode": BoxMode,
            "Instances": Instances,
        },
        "detectron2.layers": {"paste_masks_in_image": paste_masks_in_image},
        "detectron2.modeling": {"build_model": Network},
        "detectron2.modeling.postprocessing": {"detector_postprocess": detector_postprocess},
        "detectron2.utils": {},
        "detectron2.utils.events": {"EventStorage": event_storage},
        "detectron2.model_zoo": {"get_config": get_config},
        "detectron2.data": vars(catalogs),
    }
    for name, content in contents.items():
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    return catalogs
