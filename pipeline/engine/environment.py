"""What a result depends on beside parameters, data and code."""

from __future__ import annotations

import platform
from importlib.metadata import version

import cv2
import numpy
import scipy
import timm
import torch
import torchvision

from pipeline import __version__


def environment() -> dict[str, str]:
    """Versions and device that a result depends on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine() + " CPU"
    return {
        "weakseg": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "timm": timm.__version__,
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "opencv": cv2.__version__,
        **{name: version(name) for name in ("transformers", "accelerate", "higra", "pydensecrf")},
        "device": device,
        "system": platform.system(),
    }
