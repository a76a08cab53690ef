from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.methods.color import rgb_to_lab


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((0, 0, 0), (0, 0, 0)),
        ((255, 255, 255), (100, 0, 0)),
        ((255, 0, 0), (53.2408, 80.0925, 67.2032)),
        ((0, 255, 0), (87.7347, -86.1827, 83.1793)),
        ((0, 0, 255), (32.2970, 79.1875, -107.8602)),
        ((1, 1, 1), (0.2742, 0, 0)),  # on both straight parts near black
    ],
)
def test_known_colours(rgb, lab):
    converted = rgb_to_lab(torch.tensor(rgb).reshape(1, 3, 1, 1))
    np.testing.assert_allclose(converted.flatten(), lab, atol=6e-3)


def test_batch_equals_single_images():
    images = torch.randint(0, 256, (3, 3, 5, 7), generator=torch.Generator().manual_seed(0))
    singles = torch.cat([rgb_to_lab(image[None]) for image in images])
    torch.testing.assert_close(rgb_to_lab(images), singles, rtol=1e-6, atol=1e-4)


def test_stays_in_float32_under_autocast():
    images = torch.randint(0, 256, (1, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = rgb_to_lab(images)
    assert torch.equal(inside, rgb_to_lab(images))
