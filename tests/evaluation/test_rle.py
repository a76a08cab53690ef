"""Damaged masks are told from sound ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco_mask

from pipeline.evaluation.rle import is_rle, run_lengths

MASKS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 1))


@given(mask=MASKS)
def test_run_lengths_of_any_mask(mask: np.ndarray) -> None:
    counts = coco_mask.encode(np.asfortranarray(mask))["counts"]
    runs = run_lengths(counts)
    assert runs is not None
    values = np.repeat(np.arange(len(runs)) % 2, runs)
    np.testing.assert_array_equal(values.reshape(mask.shape, order="F"), mask)
    assert is_rle(counts.decode(), *mask.shape)


def test_long_runs() -> None:
    mask = np.zeros((3000, 2000), np.uint8)
    mask[:, 700:1500] = 1
    runs = run_lengths(coco_mask.encode(np.asfortranarray(mask))["counts"])
    assert runs is not None
    assert runs.tolist() == [2_100_000, 2_400_000, 1_500_000]


@pytest.mark.parametrize(
    "counts", ["", "zzzz", "1", "PPYo9", "\x01\x02", "0000000", "é", "P" * 40, "P" * 20 + "0"]
)
def test_damaged_text(counts: str) -> None:
    assert not is_rle(counts, 20, 30)


@given(mask=MASKS, data=st.data())
def test_a_cut_mask_does_not_fill_its_image(mask: np.ndarray, data: st.DataObject) -> None:
    counts = coco_mask.encode(np.asfortranarray(mask))["counts"]
    cut = counts[: data.draw(st.integers(0, len(counts) - 1))]
    assert not is_rle(cut, *mask.shape)
