"""The weights that every run's backbone starts from, as one file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline import params
from pipeline.engine.loop import FitResult
from pipeline.errors import UserError
from pipeline.files import write_json
from pipeline.methods.pretraining.method import pretrain
from pipeline.methods.pretraining.original_condinst import read_condinst
from pipeline.methods.pretraining.original_mask2former import read_mask2former
from pipeline.methods.pretraining.weight_files import load_foreign
from pipeline.models.backbones import SMALL, Backbone, build_maps
from pipeline.weights import save_tensors


def write_backbone_start(
    section: params.Start, out: Path, *, root: Path, checkpoint: Path, key: str, name: str
) -> FitResult | None:
    """Write `out`/backbone.safetensors, which `load_backbone` reads, and backbone.json.

    root: the repository, to which the path of a weight file is relative; checkpoint: a folder for the
    resume points of a pre-training with the same `key`; name: of the start, for messages.  The json has
    the keys kind, architecture, figures (of a pre-training) and ignored (tensors of a weight file that
    were left out).  A random start is a file without tensors.  Returns the figures of the training if
    there was one.

    Raises UserError for an unknown architecture, unusable weights, or a download that fails.
    """
    about: dict[str, Any] = {
        "kind": section.kind,
        "architecture": section.architecture,
        "figures": {},
        "ignored": [],
    }
    result: FitResult | None = None
    weights: Mapping[str, Tensor] = {}  # a random start
    match section:
        case params.ShapesPretraining():
            backbone, about["figures"], result = pretrain(section, checkpoint, key, name)
            weights = backbone.network.state_dict()
        case params.TimmWeights():
            weights = _download(section.architecture).network.state_dict()
        case params.WeightFile():
            backbone, path = _build(section.architecture), root / section.path
            if section.content == "backbone":
                about["ignored"] = load_foreign(backbone, section.architecture, path)
                weights = backbone.network.state_dict()
            elif section.content == "mask2former":
                weights, about["ignored"] = read_mask2former(path, backbone)
            else:
                weights, about["ignored"] = read_condinst(path, backbone, section.content)
        case params.RandomStart():
            _build(section.architecture)  # refuses an unknown architecture here, not in every run
    save_tensors(weights, out / "backbone.safetensors")
    write_json(out / "backbone.json", about)
    return result


def _build(architecture: str) -> Backbone:
    """A backbone whose random weights do not matter, so the global generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        return build_maps(architecture)


def _download(architecture: str) -> Backbone:
    """The backbone with timm's pretrained weights, from its cache or the network."""
    if architecture == SMALL:
        raise UserError(
            "params.yaml",
            architecture,
            "has no weights to download",
            "use kind: shapes_pretraining, or name an architecture of timm",
        )
    _build(architecture)
    try:
        return build_maps(architecture, pretrained=True)
    except Exception as error:  # timm, its hub and the HTTP client below raise types of their own
        problem = f"its weights cannot be downloaded ({type(error).__name__}: {error})"
        raise UserError(
            "params.yaml",
            architecture,
            problem,
            "run once with a network, or download them elsewhere and name their path in weight_files",
        ) from None
