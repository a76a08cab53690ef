"""From params to a network: the one place that knows them all."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from pipeline import params
from pipeline.models.autolabeler.network import AutoLabeler, build_autolabeler, load_encoder
from pipeline.models.backbones import load_backbone
from pipeline.models.condinst import build_condinst
from pipeline.models.detectron2 import build_detectron2
from pipeline.models.mask2former.network import build_mask2former
from pipeline.models.mask_rcnn import build_mask_rcnn
from pipeline.models.whole_start import load_start


def build_network(
    model: params.Model, num_classes: int, predict: params.Predict, start: Path | None = None
) -> nn.Module:
    """The network that `model` describes, its backbone from the weights in `start`.

    Other weights are drawn from torch's global generator; predict: thresholds that are part of a network.
    Raises UserError for a network or a backbone that is not to be had, for a backbone that lacks what the
    network needs, and for weights that do not fit.
    """
    match model:
        case params.CondInst():
            condinst = build_condinst(model, num_classes)
            head = "heads.fcos_head.class_logits"
            if start is not None:
                _say(load_start(condinst, condinst.backbone, start, head, no_object=False))
            return condinst
        case params.MaskRCNN():
            mask_rcnn = build_mask_rcnn(model, num_classes, predict)
            if start is not None:
                load_backbone(mask_rcnn.backbone, start)
            return mask_rcnn
        case params.Mask2Former():
            mask2former = build_mask2former(model, num_classes)
            if start is not None:
                _say(load_start(mask2former, mask2former.backbone, start, "class_predictor", no_object=True))
            return mask2former
        case params.Detectron2():
            return build_detectron2(model, num_classes, predict, start)
        case params.AutoLabeler():
            return load_autolabeler(model, start)


def _say(line: str) -> None:
    if line:
        print(f"warning: {line}")


def load_autolabeler(model: params.AutoLabeler, start: Path | None) -> AutoLabeler:
    """MAL's network, its encoder from the weights in `start`; says which of them the encoder cannot use."""
    autolabeler = build_autolabeler(model)
    if start is not None and (unused := load_encoder(autolabeler, start)):
        print(f"warning: {start}: its encoder has no use for {', '.join(unused)}")
    return autolabeler
