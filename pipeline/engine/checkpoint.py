"""The resume point of a run: one file, replaced as a whole, valid for one key only."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.errors import UserError
from pipeline.files import replacing
from pipeline.params import Training

_FILE = "state.pt"
_MARGIN = 64 * 2**20


def save_checkpoint(folder: Path, key: str, state: dict[str, Any]) -> None:
    """Replace the folder's checkpoint.  `state` holds tensors and plain values only.

    Raises UserError when the file cannot be written; the previous checkpoint is then still there.
    """
    try:
        with replacing(folder / _FILE) as temporary:
            torch.save({"key": key, **state}, temporary)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise UserError(
            folder / _FILE,
            "",
            f"the checkpoint cannot be written: {error}",
            "make space and run the same command again",
        ) from None


def load_checkpoint(folder: Path, key: str) -> dict[str, Any] | None:
    """The folder's checkpoint, on the CPU; None if there is none, or none that is whole and of this key.

    Removes what a killed process left half written.  Only the holder of the folder's lock may call it.
    """
    for leftover in folder.glob(f".{_FILE}.*"):
        leftover.unlink()
    path = folder / _FILE
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        found = state.pop("key")
    except Exception as error:  # a damaged file can fail anywhere in the reader, with any exception
        _note(path, f"cannot be read ({type(error).__name__}); training starts anew")
        return None
    if found != key:
        _note(path, "is of other parameters, data or code; training starts anew")
        return None
    return state


def _note(path: Path, line: str) -> None:
    print(f"warning: {path}: {line}", file=sys.stderr, flush=True)


def check_disk(folder: Path, module: nn.Module, training: Training) -> None:
    """Refuse to start a training whose checkpoints do not fit on the disk: UserError.

    While a checkpoint is replaced there are two; each holds the weights, their average if any, and the
    optimiser's moments.
    """
    weights = sum(tensor.nbytes for tensor in module.state_dict().values())
    learnt = sum(parameter.nbytes for parameter in module.parameters() if parameter.requires_grad)
    moments = 2 if training.optimizer == "adamw" else 1
    needed = 2 * (weights * (1 + bool(training.ema)) + learnt * moments) + _MARGIN
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            folder,
            "",
            f"{free // 2**20} MiB of disk are free and the checkpoints of this run"
            f" need {-(-needed // 2**20)} MiB",
            "make space and run the same command again",
        )
