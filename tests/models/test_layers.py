from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pipeline.models.layers import aligned_bilinear, cell_means, grid_points, resize_bilinear


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


@pytest.mark.parametrize("size", [(5, 7), (10, 14), (2, 3), (13, 4)])
def test_resizing_is_torchs_with_square_cells(size):
    torch.manual_seed(0)
    maps = torch.randn(2, 3, 5, 7, dtype=torch.float64, requires_grad=True)
    resized, wanted = resize_bilinear(maps, *size), F.interpolate(maps, size, mode="bilinear")
    torch.testing.assert_close(resized, wanted)
    cotangent = torch.randn_like(wanted)
    torch.testing.assert_close(
        torch.autograd.grad(resized, maps, cotangent), torch.autograd.grad(wanted, maps, cotangent)
    )


def test_resizing_keeps_the_dtype_under_autocast():
    maps = torch.rand(1, 2, 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert resize_bilinear(maps, 8, 8).dtype == torch.float32
        assert resize_bilinear(maps.bfloat16(), 8, 8).dtype == torch.bfloat16


@pytest.mark.parametrize("size", [(6, 6), (7, 10), (2, 4)])
@pytest.mark.parametrize("parts", [(1, 1), (2, 3), (6, 6)])
def test_means_of_parts_are_torch_s(size, parts):
    """With a gradient; fewer cells than parts are read several times."""
    maps = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    found, expected = cell_means(maps, *parts), F.adaptive_avg_pool2d(maps, parts)
    torch.testing.assert_close(found, expected)
    slopes = [torch.autograd.grad(each.square().sum(), maps)[0] for each in (found, expected)]
    torch.testing.assert_close(*slopes)
