"""State dicts that others wrote, in the names of our backbones."""

from __future__ import annotations

from pathlib import Path

from pipeline.models.backbones import SMALL, Backbone, check_tensors, loadable
from pipeline.state_dicts import State, read_state

PREFIXES = ("module.", "backbone.", "body.")  # of the backbone's tensors; "body." is torchvision's detectors'
HEADS = ("fc.", "head.", "classifier.")  # a classifier's tensors, in timm, torchvision and DeiT
DECODERS = ("decoder_", "mask_token")  # what a masked autoencoder (MAE) has beside its encoder


def load_foreign(backbone: Backbone, name: str, path: Path) -> list[str]:
    """Fill the backbone of architecture `name` from a .safetensors file or a .pth state dict.

    Understands timm's and torchvision's names, for the whole classifier or its backbone alone, those of
    DeiT's and MAE's transformers (which are timm's), and the PREFIXES above.  Returns the
    names of the tensors that were left out because they belong to no backbone: a classifier, a decoder,
    or what lies outside of a prefix.

    Raises UserError when the file is missing or holds no state dict, or when tensors of the backbone are
    missing, of another shape, or not known.
    """
    state, ignored = _without_prefixes(read_state(path))
    own = backbone.network.state_dict()
    by_flat = {_flat(key): key for key in own}
    renamed = {by_flat.get(_flat(key), key): tensor for key, tensor in state.items()}
    foreign = renamed.keys() - own.keys()
    if foreign:
        classifier = _classifier_names(name)
        left_out = {key for key in foreign if key.startswith((*HEADS, *DECODERS)) or _flat(key) in classifier}
        renamed = {key: tensor for key, tensor in renamed.items() if key not in left_out}
        ignored += sorted(left_out)
    check_tensors(loadable(backbone), renamed, path, backbone.remedies)
    backbone.network.load_state_dict({**own, **renamed})
    return ignored


def _without_prefixes(state: State) -> tuple[State, list[str]]:
    """Strip PREFIXES; where some tensors have one, those without it are left out and listed."""
    ignored: list[str] = []
    for prefix in PREFIXES:
        inside = {key for key in state if key.startswith(prefix)}
        if inside:
            ignored += sorted(state.keys() - inside)
            state = {key.removeprefix(prefix): state[key] for key in state if key in inside}
    return state, ignored


def _classifier_names(name: str) -> set[str]:
    """Names, flattened, of all tensors of timm's classifier with this backbone."""
    if name == SMALL:
        return set()
    import timm

    return {_flat(key) for key in timm.create_model(name, pretrained=False).state_dict()}


def _flat(key: str) -> str:
    """timm's feature networks join the first parts of a name by `_`: `stages.0.x` is `stages_0.x` there."""
    return key.replace(".", "_")
