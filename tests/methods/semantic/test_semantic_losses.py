"""The cross-entropy of classified pixels against torch's."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from pipeline.data.label_codes import UNLABELLED, VOID
from pipeline.methods.semantic.losses import pixel_cross_entropy


def test_it_is_torch_s_mean_over_labelled_pixels() -> None:
    """With its gradient, at the size of the labels."""
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 3, 5, generator=draw, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 4, (2, 12, 20), generator=draw).to(torch.uint8)
    labels[0, :3], labels[1, :, :4] = UNLABELLED, VOID
    enlarged = F.interpolate(logits, (12, 20), mode="bilinear", align_corners=False)
    ignored = labels.long().where(labels < 4, -100)
    expected = F.cross_entropy(enlarged, ignored)
    found = pixel_cross_entropy(logits, labels)
    torch.testing.assert_close(found, expected)
    slopes = [torch.autograd.grad(loss, logits)[0] for loss in (found, expected)]
    torch.testing.assert_close(*slopes)


def test_without_labelled_pixels_it_is_zero() -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = pixel_cross_entropy(logits, torch.full((1, 8, 8), UNLABELLED, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()
