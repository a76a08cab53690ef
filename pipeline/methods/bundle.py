"""A trained model on disk: weights as safetensors, and beside them all that rebuilds the network."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from pipeline import params
from pipeline.engine.ema import StudentAndTeacher
from pipeline.engine.environment import environment
from pipeline.engine.protocol import Method
from pipeline.errors import UserError
from pipeline.files import read_json, write_json
from pipeline.labels.label_file import Category
from pipeline.methods.build import build_labeler, build_method
from pipeline.methods.mal.method import AutoLabelers
from pipeline.methods.mean_teacher.method import MeanTeacher
from pipeline.params_file import tuples
from pipeline.weights import load_weights, save_weights

_SETTINGS: TypeAdapter[params.Method] = TypeAdapter(params.Method)
_MODEL: TypeAdapter[params.Model] = TypeAdapter(params.Model)


def save_bundle(
    folder: Path,
    module: nn.Module,
    settings: params.Method,
    model: params.Model,
    categories: list[Category],
    train_images: int,
) -> None:
    """Write model.safetensors and model.json (parameters, classes, environment; no times).

    A teacher is saved, too, but not counted: `parameters` is the size of one network.
    """
    network = module.student if isinstance(module, StudentAndTeacher) else module
    save_weights(module, folder / "model.safetensors")
    description = {
        "settings": settings.model_dump(mode="json"),
        "model": model.model_dump(mode="json"),
        "categories": [asdict(category) for category in categories],
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "train_images": train_images,
        "environment": environment(),
    }
    write_json(folder / "model.json", description)


def load_bundle(
    folder: Path,
    predict: params.Predict,
    device: torch.device,
    network: Literal["student", "teacher"] = "student",
) -> tuple[Method[Any], list[Category]]:
    """Rebuild a method that detects, in evaluation mode on `device`.

    network: which one predicts, of a model that has both.  Raises UserError for files that do not fit.
    """
    settings, model, categories = _read(folder)
    if isinstance(settings, params.Mal):
        raise UserError(folder / "model.json", "", "is an auto-labeler, which detects nothing")
    method = build_method(settings, model, len(categories), predict, seed=0)
    _load(method.module, folder, device)
    if isinstance(method, MeanTeacher):
        method.predictor = network
    return method, categories


def load_labeler(folder: Path, device: torch.device) -> tuple[AutoLabelers, params.Mal, params.AutoLabeler]:
    """Rebuild an auto-labeler in evaluation mode on `device`.  Raises UserError for files that do not fit."""
    settings, model, _ = _read(folder)
    if not isinstance(settings, params.Mal) or not isinstance(model, params.AutoLabeler):
        raise UserError(folder / "model.json", "", f"is of the method {settings.kind}, which labels no boxes")
    networks = build_labeler(settings, model, epoch_steps=1).networks
    _load(networks, folder, device)
    return networks, settings, model


def _read(folder: Path) -> tuple[params.Method, params.Model, list[Category]]:
    path = folder / "model.json"
    description = read_json(path)
    try:
        settings = _SETTINGS.validate_python(tuples(description["settings"]))
        model = _MODEL.validate_python(tuples(description["model"]))
        categories = [Category(**item) for item in description["categories"]]
    except (ValidationError, KeyError, TypeError) as error:
        raise UserError(path, "", f"does not describe a model ({error})", "train it again") from None
    return settings, model, categories


def _load(module: nn.Module, folder: Path, device: torch.device) -> None:
    load_weights(module, folder / "model.safetensors")
    module.to(device).eval()
