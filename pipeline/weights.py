"""Weights as safetensors files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.files import replacing


def save_weights(module: nn.Module, path: Path) -> None:
    """Write all parameters and buffers atomically; equal weights give equal bytes.

    Tensors that share memory (tied weights) are written once per name.
    """
    save_tensors(module.state_dict(), path)


def save_tensors(state: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors by name, as `save_weights`."""
    tensors = {name: state[name].detach().cpu().clone().contiguous() for name in sorted(state)}
    with replacing(path) as temporary:
        save_file(tensors, temporary)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Name -> tensor of a safetensors file.  Raises UserError when it is missing or damaged."""
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except FileNotFoundError:
        raise UserError(path, "", "file not found", "run `dvc repro` to make it") from None
    except (SafetensorError, OSError) as error:
        raise UserError(
            path, "", f"is not a whole safetensors file ({error})", "delete it and run `dvc repro`"
        ) from None
    return tensors


def load_weights(module: nn.Module, path: Path) -> None:
    """Fill a module from a file of `save_weights`.

    Raises UserError when the file is missing, is not safetensors or does not fit the module.
    """
    tensors = read_weights(path)
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if wrong:
        name = wrong[0]
        raise UserError(
            path,
            name,
            f"does not fit the model: expected {_shape(expected.get(name))}, found"
            f" {_shape(found.get(name))} ({len(wrong)} such tensors)",
            "use the parameters it was made with, or delete it and run `dvc repro`",
        )
    module.load_state_dict(tensors)


def _shape(shape: tuple[int, ...] | None) -> str:
    return "no such tensor" if shape is None else f"shape {shape}"
