"""A trained classifier of tags on disk."""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import ValidationError

from pipeline import params
from pipeline.engine.environment import environment
from pipeline.errors import UserError
from pipeline.files import read_json, write_json
from pipeline.models.classifier import TagClassifier, build_classifier
from pipeline.params_file import tuples
from pipeline.weights import load_weights, save_weights


def save_classifier(
    folder: Path, classifier: TagClassifier, settings: params.TagClassifier, classes: list[str]
) -> None:
    """Write model.safetensors and model.json (parameters, classes, environment; no times)."""
    save_weights(classifier, folder / "model.safetensors")
    description = {
        "settings": settings.model_dump(mode="json"),
        "classes": classes,
        "parameters": sum(parameter.numel() for parameter in classifier.parameters()),
        "environment": environment(),
    }
    write_json(folder / "model.json", description)


def load_classifier(folder: Path, device: torch.device) -> tuple[TagClassifier, list[str]]:
    """The classifier in evaluation mode on `device`, and its classes with the background.

    Raises UserError for files that are missing or do not fit each other.
    """
    path = folder / "model.json"
    description = read_json(path)
    try:
        settings = params.TagClassifier.model_validate(tuples(description["settings"]))
        classes = [str(name) for name in description["classes"]]
    except (ValidationError, KeyError, TypeError) as error:
        raise UserError(path, "", f"does not describe a classifier ({error})", "train it again") from None
    classifier = build_classifier(settings, len(classes) - 1)
    load_weights(classifier, folder / "model.safetensors")
    return classifier.to(device).eval(), classes
