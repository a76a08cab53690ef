"""MAL's published parity vectors as arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "vectors" / "mal"


def arrays(name: str) -> dict[str, Any]:
    """All arrays of one vector file."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}
