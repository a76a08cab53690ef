"""Losses on pseudo masks: parity, gradients, and sums written out proposal by proposal."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.methods.box_supervision.losses import pairwise_loss, projection_loss, warmup
from pipeline.methods.box_supervision.targets import color_similarity, similar_pairs
from pipeline.methods.box_teacher.affinity import affine_pairs
from pipeline.methods.box_teacher.losses import (
    mask_affinity_loss,
    mean_projection_loss,
    normaliser,
    pseudo_mask_loss,
)
from pipeline.methods.color import rgb_to_lab
from pipeline.methods.dice import dice_loss
from pipeline.models.dynamic_mask_head import dynamic_mask_logits


def slope(loss: Tensor, source: Tensor) -> Tensor:
    return torch.autograd.grad(loss, source, retain_graph=True)[0]


@pytest.mark.parametrize("index", [0, 1])
def test_lab_matches_the_release(load, index):
    arrays = load("rgb2lab")
    lab = rgb_to_lab(arrays[f"rgb_{index}"])
    torch.testing.assert_close(lab, arrays[f"lab_{index}"], rtol=0, atol=2e-4)


@pytest.mark.parametrize("index", [0, 1])
def test_similarity_matches_the_release_with_and_without_lightness(load, close, index):
    arrays = load("color_similarity")
    lab = arrays[f"lab_{index}"][:, 1:] if arrays[f"only_color_{index}"] else arrays[f"lab_{index}"]
    close(color_similarity(lab, arrays[f"mask_{index}"][None] > 0, 3, 2), arrays[f"out_{index}"])


@pytest.mark.parametrize("index", [0, 1])
def test_terms_of_single_proposals_match_the_release(load, close, index):
    arrays = load("instance_losses")
    logits, masks = arrays[f"logits_{index}"].requires_grad_(), arrays[f"gt_{index}"][:, 0]
    one = torch.ones(1)
    maps = logits[:, 0]
    terms = {
        "dice": lambda part, mask: pseudo_mask_loss(part, mask, one),
        "avg_projection": lambda part, mask: mean_projection_loss(part, mask, one),
        "project": lambda part, mask: projection_loss(part, mask > 0),
    }
    for name, term in terms.items():
        values = torch.stack([term(maps[i : i + 1], masks[i : i + 1]) for i in range(len(maps))])
        close(values, arrays[f"{name}_{index}"])
        close(slope(values.sum(), logits), arrays[f"grad_{name}_sum_{index}"], rtol=1e-3, share=2e-5)


@pytest.mark.parametrize("case", ["base", "one", "zero", "nopseudo", "late", "weightsum", "soft_avg"])
def test_losses_through_the_mask_head_match_the_release(load, close, tiny_model, released, case):
    arrays = load("mask_losses", case)
    features, parameters = arrays["mask_feats"].requires_grad_(), arrays["params"].requires_grad_()
    scales = torch.tensor(tiny_model.sizes_of_interest)[arrays["fpn_levels"]]
    images, chosen = arrays["im_inds"], arrays["gt_inds"]
    logits = dynamic_mask_logits(features, parameters, arrays["locations"], scales, images, tiny_model)
    boxes, masks = arrays["box_bitmasks"][chosen] > 0, arrays["pseudo_bitmasks"][chosen] > 0
    weights = arrays["pseudo_weights"][chosen]
    ramp = warmup(int(arrays["iter_seen_by_loss"]) - 1, released.warmup)
    factor = ramp if arrays["with_warmup"] else 1.0
    divisor = normaliser(weights, "count" if arrays["normalise_by_count"] else "weights")
    similar = similar_pairs(arrays["color_similarity_per_image"], released.color_threshold)
    pairs = affine_pairs(arrays["mask_affinity"], float(arrays["affinity_thresh"]))
    losses = {
        "loss_prj": projection_loss(logits, boxes),
        "loss_pairwise": ramp * pairwise_loss(logits, boxes, similar, images, dilation=2)[0],
        "loss_mask": arrays["mask_weight"] * factor * pseudo_mask_loss(logits, masks, weights) / divisor,
        "loss_mask_affinity": arrays["affinity_weight"]
        * factor
        * mask_affinity_loss(logits, boxes, pairs, chosen, weights, dilation=2)
        / divisor,
    }
    if "loss_avg" in arrays:
        losses["loss_avg"] = 0.1 * factor * mean_projection_loss(logits, masks, weights) / divisor
    for name, loss in losses.items():
        close(loss, arrays[name])
        for source, leaf in (("mask_feats", features), ("params", parameters)):
            close(slope(loss, leaf), arrays[f"grad_{source}.{name}"], rtol=1e-3, share=2e-5)


def test_the_ramp_matches_the_release(load):
    arrays = load("ema_and_warmup")
    for step, expected in zip(arrays["iters"].tolist(), arrays["pseudo_loss_warmup"].tolist(), strict=True):
        assert warmup(step - 1, 10_000) == pytest.approx(expected, rel=1e-6)


def scene(seed: int, soft: bool) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Five proposals of three boxes on maps of 11 x 9; the second box has no pixel."""
    draw = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(5, 11, 9, generator=draw)
    boxes = torch.zeros(3, 11, 9, dtype=torch.bool)
    boxes[0, 2:8, 1:6] = boxes[2, :, 4:] = True
    weights = torch.rand(5, generator=draw)
    affinity = torch.rand(3, 8, 11, 9, generator=draw)
    chosen = torch.tensor([2, 0, 0, 1, 2])
    return logits, boxes[chosen], affinity if soft else affinity >= 0.5, chosen, weights


def naive_affinity(logits: Tensor, boxes: Tensor, pairs: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    """Pixel by pixel, as the specification has it."""
    p = logits.sigmoid()
    offsets = [(dy, dx) for dy in (-2, 0, 2) for dx in (-2, 0, 2) if (dy, dx) != (0, 0)]
    total = logits.new_zeros(())
    height, width = logits.shape[1:]
    for n in range(len(logits)):
        summed, counted = logits.new_zeros(()), 0.0
        for y, x in boxes[n].nonzero().tolist():
            for j, (dy, dx) in enumerate(offsets):
                u = pairs[chosen[n], j, y, x].to(logits.dtype)
                counted += float(u)
                if 0 <= y + dy < height and 0 <= x + dx < width:
                    a, b = p[n, y, x], p[n, y + dy, x + dx]
                    summed = summed - u * torch.log(a * b + (1 - a) * (1 - b))
        total = total + weights[n] * summed / max(counted, 1)
    return total


@pytest.mark.parametrize("soft", [False, True])
def test_the_affinity_loss_equals_its_definition(soft):
    logits, boxes, pairs, chosen, weights = scene(0, soft)
    ours, theirs = logits.double().requires_grad_(), logits.double().requires_grad_()
    pairs, weights = pairs.double() if soft else pairs, weights.double()
    loss = mask_affinity_loss(ours, boxes, pairs, chosen, weights, dilation=2)
    expected = naive_affinity(theirs, boxes, pairs, chosen, weights)
    torch.testing.assert_close(loss, expected, rtol=1e-8, atol=0)
    torch.testing.assert_close(slope(loss, ours), slope(expected, theirs), rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("soft", [False, True])
def test_gradients_by_finite_differences(soft):
    logits, boxes, pairs, chosen, weights = scene(1, soft)
    leaf, weights = logits.double().requires_grad_(), weights.double()
    pairs = pairs.double() if soft else pairs
    masks = boxes & (logits > 0)
    assert torch.autograd.gradcheck(
        lambda x: mask_affinity_loss(x, boxes, pairs, chosen, weights, dilation=2), leaf
    )
    assert torch.autograd.gradcheck(lambda x: pseudo_mask_loss(x, masks, weights), leaf)
    assert torch.autograd.gradcheck(lambda x: mean_projection_loss(x, masks, weights), leaf)


def test_a_proposal_without_a_mask_costs_nothing():
    logits, boxes, pairs, chosen, _ = scene(2, soft=False)
    weights = torch.tensor([0.0, 0.5, 0.0, 0.0, 0.0])
    leaf = logits.requires_grad_()
    loss = mask_affinity_loss(leaf, boxes, pairs, chosen, weights, dilation=2)
    loss = loss + pseudo_mask_loss(leaf, boxes, weights) + mean_projection_loss(leaf, boxes, weights)
    touched = slope(loss, leaf).flatten(1).abs().sum(dim=1) > 0
    assert touched.tolist() == [False, True, False, False, False]
    only = slice(1, 2)
    alone = mask_affinity_loss(leaf[only], boxes[only], pairs, chosen[only], weights[only], dilation=2)
    alone = alone + 0.5 * dice_loss(leaf[only].sigmoid(), boxes[only]).sum()
    alone = alone + mean_projection_loss(leaf[only], boxes[only], weights[only])
    torch.testing.assert_close(loss, alone)


def test_no_proposals_are_a_connected_zero():
    source = torch.zeros(0, 1, 1, requires_grad=True)
    logits, boxes = source.expand(0, 6, 6), torch.zeros(0, 6, 6, dtype=torch.bool)
    none, weights = torch.zeros(0, dtype=torch.int64), torch.zeros(0)
    pairs = torch.zeros(0, 8, 6, 6, dtype=torch.bool)
    loss = mask_affinity_loss(logits, boxes, pairs, none, weights, dilation=2)
    loss = loss + pseudo_mask_loss(logits, boxes, weights) + mean_projection_loss(logits, boxes, weights)
    (loss / normaliser(weights, "count")).backward()
    assert loss.item() == 0


def test_the_normaliser_counts_masks_or_adds_up_weights():
    weights = torch.tensor([0.0, 0.5, 0.25])
    assert normaliser(weights, "count").item() == 2
    assert normaliser(weights, "weights").item() == pytest.approx(0.75 + 1e-6)
    assert normaliser(torch.zeros(3), "count").item() == 1
    assert normaliser(torch.zeros(0), "weights").item() == pytest.approx(1e-6)


def test_half_precision_logits_are_compared_in_float32():
    logits, boxes, pairs, chosen, weights = scene(3, soft=False)
    logits = logits.bfloat16()
    for loss in (
        lambda x: mask_affinity_loss(x, boxes, pairs, chosen, weights, dilation=2),
        lambda x: pseudo_mask_loss(x, boxes, weights),
        lambda x: mean_projection_loss(x, boxes, weights),
    ):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = loss(logits)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, loss(logits.float()))


def test_extreme_logits_are_finite():
    _, boxes, pairs, chosen, weights = scene(4, soft=False)
    logits = F.one_hot(torch.arange(5 * 11 * 9) % 2, 2)[:, 0].reshape(5, 11, 9) * 2e4 - 1e4
    leaf = logits.float().requires_grad_()
    loss = mask_affinity_loss(leaf, boxes, pairs, chosen, weights, dilation=2)
    loss = loss + pseudo_mask_loss(leaf, boxes, weights) + mean_projection_loss(leaf, boxes, weights)
    assert torch.isfinite(loss)
    assert torch.isfinite(slope(loss, leaf)).all()
