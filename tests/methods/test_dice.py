from __future__ import annotations

import pytest
import torch

from pipeline.methods.dice import dice_loss


@pytest.mark.parametrize("index", range(3))
def test_matches_reference(load, close, index):
    arrays = load("dice_project_term")
    logits = arrays[f"logits_{index}"].requires_grad_()
    loss = dice_loss(logits.sigmoid(), arrays[f"gt_{index}"])
    close(loss, arrays[f"dice_{index}"])
    loss.mean().backward()
    close(logits.grad, arrays[f"grad_dice_mean_{index}"], rtol=1e-3, share=2e-5)


def test_by_hand():
    """The squares and the epsilon show on small values: overlap 2e-6, sizes 1e-6 + 4e-6 + 1e-5."""
    loss = dice_loss(torch.tensor([[1e-3, 0.0]]), torch.tensor([[2e-3, 0.0]]))
    assert loss.tolist() == pytest.approx([1 - 4e-6 / 1.5e-5], rel=1e-6)


@pytest.mark.parametrize(("target", "expected"), [(1.0, 0.0), (0.0, 1.0)])
def test_full_and_empty_targets(target, expected):
    loss = dice_loss(torch.ones(2, 50), torch.full((2, 50), target))
    assert loss.tolist() == pytest.approx([expected] * 2, abs=1e-6)


def test_gradient_by_finite_differences():
    draw = torch.Generator().manual_seed(0)
    predicted = torch.rand(2, 6, generator=draw, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: dice_loss(p, torch.ones(2, 6)), predicted)
