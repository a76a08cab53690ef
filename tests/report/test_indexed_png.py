"""PNGs of few bytes: few colours stay as they are, many become 256 near ones."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from pipeline.report.indexed_png import COLORS, indexed_png


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_few_colours_are_kept() -> None:
    picture = np.random.default_rng(0).choice([0, 60, 255], (20, 30, 3)).astype(np.uint8)
    np.testing.assert_array_equal(opened(indexed_png(picture)), picture)


def test_many_colours_become_near_ones_in_fewer_bytes() -> None:
    rows, columns = np.mgrid[0:100, 0:100]
    noise = np.random.default_rng(0).integers(0, 30, (100, 100, 3))
    picture = (np.stack([rows * 2, columns * 2, rows + columns], axis=-1) + noise).astype(np.uint8)
    data = indexed_png(picture)
    assert data == indexed_png(picture)
    drawn = opened(data)
    before, after = (len(np.unique(pixels.reshape(-1, 3), axis=0)) for pixels in (picture, drawn))
    assert after <= COLORS < before
    assert np.abs(drawn.astype(int) - picture).mean() < 8
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    assert len(data) < len(buffer.getvalue()) / 2
