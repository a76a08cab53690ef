from __future__ import annotations

import pytest
import torch

from pipeline.methods.box_supervision.losses import projection_loss, warmup


def boxes(*limits):
    """8 x 9 masks of (top, left, bottom, right)."""
    masks = torch.zeros(len(limits), 8, 9, dtype=torch.bool)
    for mask, (top, left, bottom, right) in zip(masks, limits, strict=True):
        mask[top:bottom, left:right] = True
    return masks


@pytest.mark.parametrize("index", range(3))
def test_matches_reference(load, close, index):
    arrays = load("dice_project_term")
    logits = arrays[f"logits_{index}"].requires_grad_()
    loss = projection_loss(logits[:, 0], arrays[f"gt_{index}"][:, 0] > 0)
    close(loss, arrays[f"project_{index}"])
    loss.backward()
    close(logits.grad, arrays[f"grad_project_{index}"], rtol=1e-3, share=2e-5)


def test_a_cross_that_touches_all_sides_costs_nothing():
    """The projections of a mask that reaches every row and column of its box are those of the box."""
    masks = boxes((2, 1, 7, 8))
    logits = torch.full((1, 8, 9), -20.0)
    logits[0, 4, 1:8] = logits[0, 2:7, 5] = 20.0
    assert float(projection_loss(logits, masks)) == pytest.approx(0, abs=1e-5)


def test_worst_case_is_two():
    """Everything predicted where the box (thinner than the grid) is not."""
    assert float(projection_loss(torch.full((1, 8, 9), 20.0), boxes((0, 0, 0, 0)))) == pytest.approx(2)


def test_gradient_goes_to_one_pixel_of_each_row_and_column_even_on_ties():
    logits = torch.zeros(1, 8, 9, requires_grad=True)
    projection_loss(logits, boxes((2, 1, 7, 8))).backward()
    touched = logits.grad[0] != 0
    assert touched[0].all()  # the first of each column
    assert touched[:, 0].all()  # the first of each row
    assert int(touched.sum()) == 8 + 9 - 1


def test_mean_over_proposals_in_any_order():
    draw = torch.Generator().manual_seed(0)
    logits, masks = torch.randn(3, 8, 9, generator=draw), boxes((0, 0, 3, 3), (2, 1, 7, 8), (5, 5, 6, 6))
    singles = [projection_loss(logits[i : i + 1], masks[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(projection_loss(logits, masks), torch.stack(singles).mean())
    torch.testing.assert_close(projection_loss(logits.flip(0), masks.flip(0)), projection_loss(logits, masks))


def test_gradient_by_finite_differences():
    draw = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 8, 9, generator=draw, dtype=torch.float64, requires_grad=True)
    masks = boxes((2, 1, 7, 8), (0, 0, 8, 9))
    assert torch.autograd.gradcheck(lambda x: projection_loss(x, masks), logits)


def test_no_proposals_is_a_connected_zero():
    source = torch.zeros(0, 1, 1, requires_grad=True)
    loss = projection_loss(source.expand(0, 8, 9), boxes())
    loss.backward()
    assert loss.item() == 0


def test_finite_on_extreme_logits():
    logits = torch.tensor([1e4, -1e4]).repeat(36).view(1, 8, 9).requires_grad_()
    loss = projection_loss(logits, boxes((2, 1, 7, 8)))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_half_precision_logits_are_summed_in_float32():
    logits = torch.randn(2, 8, 9, generator=torch.Generator().manual_seed(1)).bfloat16()
    masks = boxes((2, 1, 7, 8), (0, 0, 8, 9))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = projection_loss(logits, masks)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, projection_loss(logits.float(), masks))


def test_warmup_counts_the_current_step():
    assert [warmup(step, 4) for step in (0, 1, 3, 4, 1000)] == [0.25, 0.5, 1.0, 1.0, 1.0]
