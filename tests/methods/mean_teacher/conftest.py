"""Guided Distillation's vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Load = Callable[[str], dict[str, np.ndarray]]


@pytest.fixture(scope="session")
def load(vectors: Path) -> Load:
    """Arrays of one of the vector files."""

    def read(name: str) -> dict[str, np.ndarray]:
        with np.load(vectors / "guided_distillation" / f"{name}.npz", allow_pickle=False) as arrays:
            return {key: np.asarray(arrays[key]) for key in arrays.files}

    return read
