"""A trained network of semantic segmentation on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError

from pipeline import params
from pipeline.engine.environment import environment
from pipeline.errors import UserError
from pipeline.files import read_json, write_json
from pipeline.methods.semantic.build import build_networks
from pipeline.models.pixel_embedding import ClassifiedEmbedding
from pipeline.params_file import tuples
from pipeline.weights import load_weights, save_weights

_SETTINGS: TypeAdapter[params.SemanticMethod] = TypeAdapter(params.SemanticMethod)


@dataclass(frozen=True)
class Description:
    """What rebuilds a network: settings, model, and the classes' names by pixel value."""

    settings: params.SemanticMethod
    model: params.PixelEmbedding
    classes: list[str]


def save_semantic(
    folder: Path, networks: ClassifiedEmbedding, description: Description, train_images: int
) -> None:
    """Write model.safetensors and model.json (parameters, classes, environment; no times)."""
    save_weights(networks, folder / "model.safetensors")
    content = {
        "settings": description.settings.model_dump(mode="json"),
        "model": description.model.model_dump(mode="json"),
        "classes": description.classes,
        "parameters": sum(parameter.numel() for parameter in networks.parameters()),
        "train_images": train_images,
        "environment": environment(),
    }
    write_json(folder / "model.json", content)


def describe(folder: Path) -> Description:
    """What `save_semantic` wrote, without the weights.  Raises UserError when it is missing or damaged."""
    path = folder / "model.json"
    content = read_json(path)
    try:
        return Description(
            _SETTINGS.validate_python(tuples(content["settings"])),
            params.PixelEmbedding.model_validate(tuples(content["model"])),
            [str(name) for name in content["classes"]],
        )
    except (ValidationError, KeyError, TypeError) as error:
        raise UserError(path, "", f"does not describe a model ({error})", "train it again") from None


def load_semantic(folder: Path, device: torch.device) -> tuple[ClassifiedEmbedding, Description]:
    """The networks in evaluation mode on `device`.  Raises UserError for files that do not fit."""
    description = describe(folder)
    networks = build_networks(description.settings, description.model, len(description.classes))
    load_weights(networks, folder / "model.safetensors")
    return networks.to(device).eval(), description
