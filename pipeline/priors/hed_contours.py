"""Contours by HED, on the processor: one image at a time, as the other per-image work."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.engine.devices import reproducible
from pipeline.models.hed import Hed, load_hed
from pipeline.priors.contours import ContourMap


def hed_contours(image: NDArray[np.uint8], weights: Path) -> ContourMap:
    """Edge probability of an (H, W, 3) uint8 RGB image, without orientations.

    weights: a file that `load_hed` reads, once per process.  One thread: several processes share the machine.
    """
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    with reproducible(1), torch.inference_mode():
        strength = _network(weights)(pixels)[0]
    return ContourMap(strength.numpy(), None)


@cache
def _network(weights: Path) -> Hed:
    return load_hed(weights)
