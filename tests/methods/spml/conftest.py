"""SPML's vectors: small ones that every clone has, and the others of the reference material."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

Load = Callable[[str], dict[str, Tensor]]


@pytest.fixture(scope="session")
def load(vectors: Path, request: pytest.FixtureRequest) -> Load:
    """Arrays of one of the vector files as tensors, whole numbers as int64."""

    def read(name: str) -> dict[str, Tensor]:
        path = vectors / "spml" / f"{name}.npz"
        if not path.exists():
            path = request.getfixturevalue("shared_data") / "reference" / "spml" / path.name
        with np.load(path, allow_pickle=False) as arrays:
            read = {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays.files}
        return {key: value.long() if value.dtype == torch.int32 else value for key, value in read.items()}

    return read
