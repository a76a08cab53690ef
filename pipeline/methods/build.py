"""From params to a method: the one place that knows them all."""

from __future__ import annotations

from pathlib import Path

from pipeline import params
from pipeline.methods.boxinst.method import BoxInst
from pipeline.methods.detection.condinst_method import CondInstMethod
from pipeline.methods.supervised.method import Supervised
from pipeline.models.backbones import load_backbone
from pipeline.models.condinst import build_condinst


def build_method(
    settings: params.Method,
    model: params.Model,
    num_classes: int,
    predict: params.Predict,
    seed: int,
    start: Path | None = None,
) -> CondInstMethod:
    """Build the network, its backbone from the weights in `start`, and the method that trains it.

    Other weights are drawn from torch's global generator; `seed` drives the draws of the method itself.
    Raises UserError for weights that do not fit.
    """
    network = build_condinst(model, num_classes)
    if start is not None:
        load_backbone(network.backbone, start)
    if isinstance(settings, params.BoxInst):
        return BoxInst(settings, network, model, num_classes, predict)
    return Supervised(settings, network, model, num_classes, predict, seed)
