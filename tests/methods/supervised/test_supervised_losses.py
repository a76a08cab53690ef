from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.methods.supervised.losses import dice_loss, sample_masks


@pytest.mark.parametrize("case", range(3))
def test_dice_matches_reference(load, close, case):
    arrays = load("dice_project_term")
    logits = arrays[f"logits_{case}"].requires_grad_()
    loss = dice_loss(logits.sigmoid(), arrays[f"gt_{case}"])
    close(loss, arrays[f"dice_{case}"])
    loss.mean().backward()
    close(logits.grad, arrays[f"grad_dice_mean_{case}"], rtol=1e-3, share=2e-5)


def test_dice_by_hand():
    probabilities = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    loss = dice_loss(probabilities, torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    assert loss.tolist() == pytest.approx([0.0, 1 - 2 * 0.5 / 1.5], abs=1e-5)


def test_dice_gradient_by_finite_difference():
    torch.manual_seed(0)
    probabilities = torch.rand(3, 4, 5, dtype=torch.float64, requires_grad=True)
    targets = (torch.rand(3, 4, 5) > 0.5).double()
    targets[1] = 0
    assert torch.autograd.gradcheck(lambda value: dice_loss(value, targets), (probabilities,))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 21), st.integers(1, 21), st.sampled_from([1, 2, 4]))
def test_samples_are_the_pixels_under_the_cells(height, width, stride):
    masks = torch.rand(2, height, width, generator=torch.Generator().manual_seed(0)) > 0.5
    padded = torch.zeros(2, 24, 24)
    padded[:, :height, :width] = masks.float()
    grid = sample_masks([masks, masks[:0]], (24, 24), stride)
    assert torch.equal(grid, padded[:, stride // 2 :: stride, stride // 2 :: stride])
