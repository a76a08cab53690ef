"""State dicts in files that others wrote."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pipeline.errors import UserError

State = dict[str, Tensor]

WRAPPERS = ("state_dict", "model")  # keys below which training programs put the weights


def read_state(path: Path) -> State:
    """The state dict in a .safetensors file, or in one of torch.save, without running any code in it.

    Raises UserError when the file is missing or holds anything else.
    """
    remedy = "save model.state_dict() with torch.save, or as safetensors"
    if path.suffix == ".pkl":
        problem = "is a pickle, which may run code when it is read"
        raise UserError(path, "", problem, "convert it as docs/recipes.md says, if you trust its source")
    try:
        content: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except FileNotFoundError:
        raise UserError(path, "", "file not found", "correct the path in params.yaml") from None
    except (SafetensorError, pickle.UnpicklingError, OSError, RuntimeError, EOFError, ValueError) as error:
        problem = f"cannot be read as plain weights ({str(error).splitlines()[0] if str(error) else 'empty'})"
        raise UserError(path, "", problem, remedy) from None
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if (
        not isinstance(content, dict)
        or not content
        or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items())
    ):
        raise UserError(path, "", "is not a state dict (names to tensors)", remedy)
    return content
