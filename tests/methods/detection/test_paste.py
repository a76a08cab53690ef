"""Pasting undoes the cutting of mask targets by RoIAlign."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.models.detection.roi_heads import project_masks_on_boxes

from pipeline.methods.detection.paste import paste_masks


def ellipse(size: tuple[int, int], box: tuple[float, float, float, float]) -> Tensor:
    """(1, H, W) bool: the pixels whose centres lie in the ellipse that fills the box."""
    x1, y1, x2, y2 = box
    y, x = (torch.arange(side) + 0.5 for side in size)
    across = (x - (x1 + x2) / 2) / ((x2 - x1) / 2)
    down = (y - (y1 + y2) / 2) / ((y2 - y1) / 2)
    return (across[None, None, :] ** 2 + down[None, :, None] ** 2) <= 1


def cut_and_paste(masks: Tensor, boxes: Tensor, side: int) -> Tensor:
    size = (int(masks.shape[1]), int(masks.shape[2]))
    targets = project_masks_on_boxes(masks, boxes, torch.arange(len(masks)), side)
    return paste_masks(targets, boxes, size, size)


def iou(one: Tensor, other: Tensor) -> float:
    return float((one & other).sum() / (one | other).sum())


@settings(max_examples=50, deadline=None)
@given(
    x=st.integers(0, 40),
    y=st.integers(0, 30),
    width=st.integers(12, 50),
    height=st.integers(12, 50),
    side=st.sampled_from((20, 28)),
)
def test_a_mask_comes_back_in_place(x: int, y: int, width: int, height: int, side: int) -> None:
    box = (x, y, min(x + width, 96), min(y + height, 80))
    mask = ellipse((80, 96), box)
    back = cut_and_paste(mask, torch.tensor([box], dtype=torch.float32), side)
    assert iou(mask, back) > 0.93
    centre = [place.nonzero().float().mean(dim=0) for place in (mask[0], back[0])]
    assert float((centre[0] - centre[1]).abs().max()) < 0.3


@pytest.mark.parametrize("original", [(48, 64), (192, 256), (96, 100)])
def test_a_mask_comes_back_in_another_size(original: tuple[int, int]) -> None:
    size, box = (96, 128), torch.tensor([[20.0, 12, 84, 76]])
    mask = ellipse(size, (20, 12, 84, 76))
    targets = project_masks_on_boxes(mask, box, torch.arange(1), 28)
    tall, wide = original[0] / size[0], original[1] / size[1]
    expected = ellipse(original, (20 * wide, 12 * tall, 84 * wide, 76 * tall))
    assert iou(paste_masks(targets, box, size, original), expected) > 0.95


def test_a_full_grid_fills_the_pixels_whose_centres_lie_in_the_box() -> None:
    boxes = torch.tensor([[2.0, 3, 6, 5], [1.6, 0.2, 3.4, 4.5], [-3, -2, 2, 2], [7, 7, 7, 7]])
    masks = paste_masks(torch.ones(4, 5, 5), boxes, (8, 8), (8, 8))
    expected = torch.zeros(4, 8, 8, dtype=torch.bool)
    expected[0, 3:5, 2:6] = True
    expected[1, 0:5, 2:3] = True
    expected[2, 0:2, 0:2] = True
    assert torch.equal(masks, expected)


def test_one_half_is_background_and_there_may_be_no_box() -> None:
    box = torch.tensor([[0.0, 0, 4, 4]])
    assert not paste_masks(torch.full((1, 4, 4), 0.5), box, (8, 8), (8, 8)).any()
    assert paste_masks(torch.zeros(0, 4, 4), box[:0], (8, 8), (6, 7)).shape == (0, 6, 7)


def test_many_masks_are_pasted_in_parts() -> None:
    draw = torch.Generator().manual_seed(0)
    grids, boxes = torch.rand(70, 6, 6, generator=draw), torch.rand(70, 4, generator=draw) * 10
    boxes[:, 2:] += 10
    together = paste_masks(grids, boxes, (24, 24), (24, 24))
    alone = torch.cat(
        [
            paste_masks(grid[None], box[None], (24, 24), (24, 24))
            for grid, box in zip(grids, boxes, strict=True)
        ]
    )
    assert torch.equal(together, alone)
