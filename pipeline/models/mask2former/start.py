"""Weights that a Mask2Former starts from: of its backbone, or of the whole network."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from pipeline.models.backbones import check_tensors, fill_backbone
from pipeline.models.mask2former.network import Mask2Former
from pipeline.weights import read_weights

_CLASSES = "class_predictor.weight", "class_predictor.bias"


def load_start(network: Mask2Former, path: Path) -> str:
    """Fill all of the network, or its backbone, from a backbone.safetensors file; an empty one is no start.

    The class head of a whole network stays at random when the file's is of another number of classes.
    Returns a line that says so, or nothing.

    Raises UserError when the file is missing or damaged, or when its tensors are not those of the network.
    """
    state = read_weights(path)
    if "class_predictor.weight" not in state:
        fill_backbone(network.backbone, state, path)
        return ""
    head: nn.Linear = network.class_predictor
    classes = len(state["class_predictor.weight"]) - 1
    dropped = classes != head.out_features - 1
    given = {name: tensor for name, tensor in state.items() if not dropped or name not in _CLASSES}
    own = network.state_dict()
    check_tensors({name: own[name] for name in own if not dropped or name not in _CLASSES}, given, path)
    # Not strict: frozen batch norms have no counter of batches.
    network.load_state_dict(given, strict=False)
    if not dropped:
        return ""
    return (
        f"{path}: its class head is left out and begins at random, since it is for {classes} classes"
        f" and the labels have {head.out_features - 1}"
    )
