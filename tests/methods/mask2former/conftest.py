"""Mask2Former's vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

Load = Callable[[str], dict[str, Tensor]]


@pytest.fixture(scope="session")
def load(vectors: Path) -> Load:
    """Numeric arrays of one of the vector files, `folder/name`, as tensors."""

    def read(name: str) -> dict[str, Tensor]:
        with np.load(vectors / f"{name}.npz", allow_pickle=False) as arrays:
            return {
                key: torch.from_numpy(np.asarray(arrays[key]))
                for key in arrays.files
                if arrays[key].dtype.kind != "U"
            }

    return read
