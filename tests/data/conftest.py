from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.coco_folder import HEIGHT, WIDTH


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images of 40 x 30 pixels, in images/."""
    (tmp_path / "images").mkdir()
    for name, level in (("a.png", 60), ("b.png", 120)):
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), level, np.uint8)).save(tmp_path / "images" / name)
    return tmp_path
