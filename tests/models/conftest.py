"""MAL's published parity vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

LoadMal = Callable[[str], dict[str, Tensor]]


@pytest.fixture(scope="session")
def load_mal(vectors: Path) -> LoadMal:
    """Arrays of one vector file as tensors."""

    def read(name: str) -> dict[str, Tensor]:
        with np.load(vectors / "mal" / f"{name}.npz", allow_pickle=False) as arrays:
            return {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays.files}

    return read
