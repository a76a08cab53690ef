"""From params to a method: the one place that knows them all."""

from __future__ import annotations

from pipeline import params
from pipeline.methods.boxinst.method import BoxInst
from pipeline.methods.detection.condinst_method import CondInstMethod
from pipeline.methods.supervised.method import Supervised


def build_method(
    settings: params.Method, model: params.Model, num_classes: int, predict: params.Predict, seed: int
) -> CondInstMethod:
    """Build the network and the method that trains it.

    Weights are drawn from torch's global generator; `seed` drives the draws of the method itself.
    """
    if isinstance(settings, params.BoxInst):
        return BoxInst(settings, model, num_classes, predict, seed)
    return Supervised(settings, model, num_classes, predict, seed)
