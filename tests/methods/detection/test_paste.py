"""Pasting undoes the cutting of mask targets by RoIAlign, and so does laying out logits for losses."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.models.detection.roi_heads import project_masks_on_boxes

from pipeline.methods.box_supervision.targets import box_masks
from pipeline.methods.detection.paste import NOWHERE, logit_maps, paste_masks, pasted


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


ROIS = torch.tensor([[10.0, 8, 50, 40], [12.3, 20.1, 30.7, 55.9], [60, 40, 96, 64]])
# Equal to its roi, exceeding it on two sides, and within it.
BOXES = torch.tensor([[10.0, 8, 50, 40], [8.6, 20.1, 30.7, 60.2], [66, 44, 90, 60]])


def grids(*shape: int) -> Tensor:
    return 4 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_in_a_roi_a_cell_has_the_logit_that_is_pasted_at_its_pixel(stride: int) -> None:
    logits = grids(3, 7, 7)
    maps = logit_maps(logits, ROIS, BOXES, (64, 96), stride)
    (whole,) = pasted(logits, ROIS, (64, 96), (64, 96))
    (inside,) = pasted(torch.ones_like(logits), ROIS, (64, 96), (64, 96))
    places = (slice(None), slice(stride // 2, None, stride), slice(stride // 2, None, stride))
    reached = inside[places] > 0
    assert reached.flatten(1).any(dim=1).all()
    torch.testing.assert_close(maps[reached], whole[places][reached], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
def test_logits_go_on_to_the_end_of_the_box_and_no_farther(stride: int) -> None:
    """Of the second roi: to the left and below."""
    maps = logit_maps(grids(3, 7, 7), ROIS, BOXES, (64, 96), stride)
    hulls = torch.cat((torch.minimum(ROIS, BOXES)[:, :2], torch.maximum(ROIS, BOXES)[:, 2:]), dim=1)
    assert torch.equal(maps != NOWHERE, box_masks(hulls, (64, 96), stride))
    points = torch.arange(stride // 2, 96, stride)
    below = ((points > 54) & (points <= 60)).nonzero()[:, 0]  # from the centre of the roi's lowest bins on
    left = ((points >= 8) & (points < 13)).nonzero()[:, 0]
    for part in (maps[1, below], maps[1, :, left].T):
        assert (part == part[0]).all()
        assert len(part) > 1
        assert (part[0] != NOWHERE).any()


def test_a_mask_that_was_cut_comes_back_as_logits() -> None:
    masks = torch.cat([ellipse((64, 96), tuple(box)) for box in ROIS.tolist()])
    targets = project_masks_on_boxes(masks, ROIS, torch.arange(3), 28)
    maps = logit_maps(20 * targets - 10, ROIS, ROIS, (64, 96), 2)
    for mask, back in zip(masks[:, 1::2, 1::2], maps > 0, strict=True):
        assert iou(mask, back) > 0.93


def test_gradients_of_logit_maps() -> None:
    logits, rois, boxes = grids(3, 5, 5).double().requires_grad_(), ROIS.double(), BOXES.double()
    assert torch.autograd.gradcheck(lambda values: logit_maps(values, rois, boxes, (64, 96), 4), logits)


def test_no_region_gives_no_map_and_keeps_the_graph() -> None:
    logits = torch.zeros(0, 5, 5, requires_grad=True)
    maps = logit_maps(logits, ROIS[:0], BOXES[:0], (64, 96), 4)
    assert maps.shape == (0, 16, 24)
    maps.sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
