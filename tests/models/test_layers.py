from __future__ import annotations

import pytest
import torch

from pipeline.models.layers import aligned_bilinear, grid_points


@pytest.mark.parametrize("case", range(5))
def test_enlargement_matches_reference(load, close, case):
    arrays = load("aligned_bilinear")
    maps = arrays[f"in_{case}"].requires_grad_()
    out = aligned_bilinear(maps, int(arrays[f"factor_{case}"]))
    close(out, arrays[f"out_{case}"])
    (out * arrays[f"cot_{case}"]).sum().backward()
    close(maps.grad, arrays[f"grad_in_{case}"], rtol=1e-3, share=2e-5)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_enlarged_cells_keep_their_image_points(factor):
    """A linear ramp over image points stays that ramp, but for the border that repeats its cell."""
    stride = 4 * factor
    coarse, fine = grid_points(5, 7, stride), grid_points(5 * factor, 7 * factor, stride // factor)
    ramp = aligned_bilinear(coarse.T.reshape(1, 2, 5, 7), factor)[0].flatten(1).T
    inside = ((fine >= coarse.min(dim=0).values) & (fine <= coarse.max(dim=0).values)).all(dim=1)
    shift = stride // 2 - factor // 2 * (stride // factor) - stride // factor // 2
    torch.testing.assert_close(ramp[inside], fine[inside] + shift)
    assert inside.sum() > 50


@pytest.mark.parametrize("case", range(4))
def test_grid_points_match_reference(load, case):
    arrays = load("compute_locations")
    rows, columns, stride = (int(value) for value in arrays[f"hws_{case}"])
    assert torch.equal(grid_points(rows, columns, stride), arrays[f"out_{case}"])
