"""Networks of detectron2's model zoo, where detectron2 is installed.

Mask R-CNN and Cascade Mask R-CNN (arXiv 1712.00726) as its yaml configs describe them, on a ResNet whose
weights come from timm, as those of all other networks here.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path
from typing import Any

from torch import nn

from pipeline import params
from pipeline.errors import UserError
from pipeline.models.backbones import check_tensors
from pipeline.weights import read_weights


def build_detectron2(
    model: params.Detectron2, num_classes: int, predict: params.Predict, start: Path | None
) -> nn.Module:
    """The network of `model.config`, with random weights but for those of its ResNet in `start`.

    Raises UserError when detectron2 is not installed, cannot be imported, has no such config or another kind
    of network by that name, and for weights that do not fit.
    """
    _require()
    from detectron2.modeling import build_model

    network: nn.Module = build_model(_config(model, num_classes, predict))
    if start is not None:
        load_resnet(network.get_submodule("backbone.bottom_up"), start)
    return network


def _require() -> None:
    install = "pip install --no-build-isolation git+https://github.com/facebookresearch/detectron2"
    if importlib.util.find_spec("detectron2") is None:
        raise UserError(
            "params.yaml",
            "architecture: detectron2",
            "the package detectron2 is not installed",
            f"type: {install} (it needs a C++ compiler), or use architecture: mask_rcnn",
        )
    try:
        for module in ("model_zoo", "modeling"):
            importlib.import_module(f"detectron2.{module}")
    except Exception as error:  # built for another PyTorch, its compiled part fails in ways of its own
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise UserError(
            "params.yaml",
            "architecture: detectron2",
            f"the package detectron2 is installed and cannot be imported ({type(error).__name__}: {reason})",
            f"build it anew for this Python and PyTorch: {install} --force-reinstall --no-deps",
        ) from None


def _config(model: params.Detectron2, num_classes: int, predict: params.Predict) -> Any:
    """The zoo's config with our classes, thresholds and pixels."""
    from detectron2 import model_zoo

    try:
        config = model_zoo.get_config(model.config)
    except RuntimeError as error:
        raise UserError(
            "params.yaml",
            model.config,
            f"is no config of detectron2's model zoo ({error})",
            "name one by its path in detectron2/configs",
        ) from None
    if config.MODEL.META_ARCHITECTURE != "GeneralizedRCNN" or not config.MODEL.MASK_ON:
        raise UserError(
            "params.yaml",
            model.config,
            "is not a Mask R-CNN",
            "choose a mask_rcnn or a cascade_mask_rcnn config",
        )
    config.MODEL.DEVICE = "cpu"  # the engine moves it
    config.MODEL.BACKBONE.FREEZE_AT = model.frozen_stages
    config.MODEL.RESNETS.STRIDE_IN_1X1 = False  # timm has the stride in the 3x3 convolution
    config.INPUT.FORMAT = "RGB"
    config.MODEL.PIXEL_MEAN = list(model.pixel_mean)
    config.MODEL.PIXEL_STD = list(model.pixel_std)
    config.MODEL.ROI_HEADS.NUM_CLASSES = num_classes
    config.MODEL.ROI_HEADS.SCORE_THRESH_TEST = predict.score_threshold
    config.MODEL.ROI_HEADS.NMS_THRESH_TEST = predict.nms_threshold.detectron2
    config.MODEL.RPN.PRE_NMS_TOPK_TEST = predict.pre_nms_topk
    config.MODEL.RPN.POST_NMS_TOPK_TEST = predict.pre_nms_topk
    config.TEST.DETECTIONS_PER_IMAGE = predict.detections_per_image
    return config


def load_resnet(network: nn.Module, path: Path) -> None:
    """Load a backbone.safetensors file with a timm ResNet into detectron2's; an empty file changes nothing.

    Raises UserError when the file is missing or damaged, or when its tensors are not those of `network`.
    """
    state = read_weights(path)
    if state:
        state = {resnet_name(name): tensor for name, tensor in state.items()}
        check_tensors(network.state_dict(), state, path)
        # Not strict: frozen batch norms have no counter of batches.
        network.load_state_dict(state, strict=False)


def resnet_name(name: str) -> str:
    """detectron2's name for the tensor of a ResNet that timm calls `name`."""
    name = re.sub(r"^layer(\d)", lambda stage: f"res{int(stage[1]) + 1}", name)
    name = name if name.startswith("res") else f"stem.{name}"
    name = re.sub(r"\bbn(\d)", r"conv\1.norm", name)
    name = name.replace(".conv2.offset.", ".conv2_offset.")
    return name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
