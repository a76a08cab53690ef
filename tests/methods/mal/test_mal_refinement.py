"""Refined masks follow the image and stay in their boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline import params
from pipeline.methods.mal.pseudo_masks import CUT
from pipeline.methods.mal.refinement import refine_crops, refine_logits
from tests.priors.crf.settings import SEAM

SIDE = 32
MEAN_FIELD = params.MeanField(kernel=3, zeta=0.3, iterations=100, clamp=(0.1, 0.9))


def scene() -> tuple[Tensor, Tensor, Tensor]:
    """A bright square in a larger box: crops (1, 3, S, S) uint8, boxes (1, S, S), truth (1, S, S)."""
    truth = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    truth[:, 8:24, 8:24] = True
    boxes = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)
    boxes[:, 4:28, 4:28] = 1
    crops = torch.where(truth[:, None], 200, 50).expand(1, 3, SIDE, SIDE).to(torch.uint8)
    return crops, boxes, truth


def guess(truth: Tensor) -> Tensor:
    """(1, S, S) probabilities that are right on the average and speckled."""
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    return (0.3 + 0.4 * truth + 0.2 * noise).clamp(0.01, 0.99)


def test_the_mean_field_removes_speckle() -> None:
    crops, boxes, truth = scene()
    images = (crops.float() - 128) / 50
    refined = refine_logits(guess(truth).logit(eps=1e-6), images, boxes, MEAN_FIELD)
    assert refined.shape == (1, SIDE, SIDE)
    assert not torch.equal(guess(truth) > CUT, truth)
    assert torch.equal(refined > CUT, truth)


def test_half_the_resolution_gives_masks_of_the_whole_crop() -> None:
    crops, boxes, truth = scene()
    small = torch.nn.functional.avg_pool2d(guess(truth)[:, None], 2)[:, 0].logit(eps=1e-6)
    refined = refine_logits(small, (crops.float() - 128) / 50, boxes, MEAN_FIELD)
    assert refined.shape == (1, SIDE, SIDE)
    assert torch.equal(refined > CUT, truth)


def test_the_dense_crf_does_so_too_and_cuts_at_the_box() -> None:
    crops, boxes, truth = scene()
    refined = refine_crops(guess(truth), crops, boxes, SEAM)
    assert torch.equal(refined > CUT, truth)
    boxes[:, :, :12] = 0
    assert not refine_crops(guess(truth), crops, boxes, SEAM)[:, :, :12].any()
