"""What a result depends on beside parameters, data and code."""

from __future__ import annotations

import platform
from importlib.metadata import version

import cv2
import numpy
import torch

from pipeline import __version__

# To import them takes seconds, and most stages need few of them.
_READ_FROM_METADATA = ("torchvision", "timm", "scipy", "transformers", "accelerate", "higra", "pydensecrf")


def environment() -> dict[str, str]:
    """Versions and device that a result depends on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine() + " CPU"
    return {
        "weakseg": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "opencv": cv2.__version__,
        **{name: version(name) for name in _READ_FROM_METADATA},
        "device": device,
        "system": platform.system(),
    }
