from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.methods.detection.mask_targets import sample_masks


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 21), st.integers(1, 21), st.sampled_from([1, 2, 4]))
def test_samples_are_the_pixels_under_the_cells(height, width, stride):
    masks = torch.rand(2, height, width, generator=torch.Generator().manual_seed(0)) > 0.5
    padded = torch.zeros(2, 24, 24)
    padded[:, :height, :width] = masks.float()
    grid = sample_masks([masks, masks[:0]], (24, 24), stride)
    assert torch.equal(grid, padded[:, stride // 2 :: stride, stride // 2 :: stride])
