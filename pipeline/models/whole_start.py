"""Weights that a detector starts from: of its backbone, or of the whole network."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from pipeline.models.backbones import Backbone, check_tensors, fill_backbone
from pipeline.weights import read_weights


def load_start(network: nn.Module, backbone: Backbone, path: Path, head: str, *, no_object: bool) -> str:
    """Fill all of the network, or its backbone, from a backbone.safetensors file; an empty one is no start.

    head: name in `network` of the layer that gives the classes' logits; no_object: it has one for "no
    object", too.  The head of a whole network stays at random when the file's is of another number of
    classes.  Returns a line that says so, or nothing.

    Raises UserError when the file is missing or damaged, or when its tensors are not those of the network.
    """
    state, own = read_weights(path), network.state_dict()
    names = f"{head}.weight", f"{head}.bias"
    if names[0] not in state:
        fill_backbone(backbone, state, path)
        return ""
    classes, wanted = (len(tensors[names[0]]) - no_object for tensors in (state, own))
    left_out = names if classes != wanted else ()
    given = {name: tensor for name, tensor in state.items() if name not in left_out}
    check_tensors({name: own[name] for name in own if name not in left_out}, given, path)
    # Not strict: frozen batch norms have no counter of batches.
    network.load_state_dict(given, strict=False)
    if not left_out:
        return ""
    return (
        f"{path}: its class head is left out and begins at random, since it is for {classes} classes"
        f" and the labels have {wanted}"
    )
