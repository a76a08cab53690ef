"""No constant and no rule of Mask2Former's losses and inference can change unnoticed.

Each case rewrites one expression of the source, loads the changed modules beside the real ones and
expects a check to fail; the same checks pass on the source as it is.
"""

from __future__ import annotations

import pytest
import torch

from tests.mask2former_batches import as_batch, drawn, library_losses
from tests.mask2former_settings import PUBLISHED_LOSSES
from tests.mutations import load_modules
from tests.toy_instances import drawn as drawn_sample

MODULES = {  # in the order of their imports
    "structures": "pipeline.structures",
    "dice": "pipeline.methods.dice",
    "points": "pipeline.methods.mask2former.points",
    "matching": "pipeline.methods.mask2former.matching",
    "criterion": "pipeline.methods.mask2former.criterion",
    "targets": "pipeline.methods.mask2former.targets",
    "inference": "pipeline.methods.mask2former.inference",
}


# --- the checks: each raises AssertionError when the modules do not follow the specification -----------


def check_criterion(code, load):
    """Bit for bit the library, at settings of which no two are equal."""
    settings = PUBLISHED_LOSSES.model_copy(
        update={"class_weight": 1.5, "mask_weight": 4.0, "no_object_weight": 0.2, "points": 200}
    )
    for counts in ([9, 3, 0, 5], [2, 6]):
        predictions, targets = drawn(counts)
        torch.manual_seed(0)
        losses = code.criterion.mask2former_losses(
            predictions, [code.criterion.MaskTargets(part.labels, part.masks) for part in targets], settings
        )
        torch.manual_seed(0)
        expected = library_losses((predictions, targets), settings)
        assert losses.keys() == expected.keys()
        for name, loss in losses.items():
            torch.testing.assert_close(loss, expected[name], rtol=1e-6, atol=0)


def check_empty(code, load):
    predictions, targets = drawn([0, 0])
    settings = PUBLISHED_LOSSES.model_copy(update={"points": 50})
    losses = code.criterion.mask2former_losses(predictions, targets, settings)
    assert all(torch.isfinite(loss) for loss in losses.values())


def check_finite(code, load):
    predictions, targets = drawn([1, 2])
    predictions[1].mask_logits[1, 4] = float("inf")
    settings = PUBLISHED_LOSSES.model_copy(update={"points": 50})
    losses = code.criterion.mask2former_losses(predictions, targets, settings)
    assert all(torch.isnan(loss) for loss in losses.values())


def check_precision(code, load):
    """The second query is the better one by less than half precision can tell."""
    everything = code.criterion.MaskTargets(torch.tensor([0]), torch.ones(1, 8, 8, dtype=torch.bool))
    logits = torch.tensor([4.0, 4.03125]).bfloat16()[None, :, None, None].expand(1, 2, 8, 8)
    half = code.criterion.QueryPredictions(torch.zeros(1, 2, 3).bfloat16(), logits)
    full = code.criterion.QueryPredictions(*(values.float() for values in half))
    settings = PUBLISHED_LOSSES.model_copy(update={"points": 31, "dice_weight": 0.0})
    torch.manual_seed(0)
    expected = library_losses(([full], [everything]), settings)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.manual_seed(0)
        losses = code.criterion.mask2former_losses([half], [everything], settings)
    for name, loss in expected.items():
        assert losses[name].dtype == torch.float32
        assert torch.equal(losses[name], loss)


def check_costs(code, load):
    arrays = load("mask2former/matcher")
    arrays |= {name: arrays[name][None] for name in ("pred_logits", "pred_masks")}
    predictions, targets = as_batch(arrays)
    points = 2 * torch.stack([arrays[f"points_{image}"] for image in range(3)])[None] - 1
    masks = torch.cat([target.masks for target in targets]).float()
    labels = [target.labels for target in targets]
    costs = code.matching.match_costs(predictions, labels, masks, points, PUBLISHED_LOSSES)
    for image in range(3):
        expected = arrays[f"cost_{image}"]
        ours = costs[0, image, :, : expected.shape[1]]
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


def check_targets(code, load):
    sample = drawn_sample(3, size=(40, 48))
    (target,) = code.targets.padded_targets([sample.target], (64, 80))
    assert target.masks.shape == (2, 64, 80)
    assert torch.equal(target.masks[:, :40, :48], sample.target.masks.as_subclass(torch.Tensor))
    assert not target.masks[:, 40:].any()


def check_instances(code, load):
    """The published vectors, through the parts that do not need a network."""
    arrays = load("mask2former/instance_inference")
    logits = arrays["mask_pred"]
    size = logits.shape[1:]
    padded = code.inference.PaddedBatch(torch.zeros(1, 3, *size), [tuple(size)])
    masks, quality = code.inference._full_masks(logits, padded, 0, tuple(size))
    classes = arrays["mask_cls"].softmax(dim=-1)[:, :-1]
    found = code.inference._instances(classes, masks, quality, int(arrays["topk"]))
    scores = arrays["scores"][arrays["scores"] > 0]
    torch.testing.assert_close(found.scores, scores, rtol=0, atol=1e-5)
    assert sorted(found.labels.tolist()) == sorted(arrays["classes"][arrays["scores"] > 0].tolist())
    # An image of 3 x 4 pixels, padded to 4 x 6 and enlarged to 6 x 8, seen at half its resolution.
    logits = torch.tensor([[[1.0, -3.0, 9.0], [-1.0, 2.0, 9.0]]])
    padded = code.inference.PaddedBatch(torch.zeros(1, 3, 4, 6), [(3, 4)])
    full = torch.nn.functional.interpolate(logits[None], (4, 6), mode="bilinear")[..., :3, :4]
    full = torch.nn.functional.interpolate(full, (6, 8), mode="bilinear")[0]
    masks, quality = code.inference._full_masks(logits, padded, 0, (6, 8))
    assert torch.equal(masks, full > 0)
    torch.testing.assert_close(quality[0], full[full > 0].sigmoid().mean())


def check_boxes(code, load):
    masks = torch.zeros(4, 9, 12, dtype=torch.bool)
    masks[0, 2:5, 3:10] = masks[1, 2:5, 3:10] = masks[2, 6:9, 0:4] = True
    masks[1, 3, 4] = False
    assert code.structures.mask_boxes(masks).tolist() == [[3, 2, 10, 5], [3, 2, 10, 5], [0, 6, 4, 9], [0] * 4]
    classes = torch.tensor([[0.3, 0.1], [0.2, 0.4], [0.9, 0.05], [0.9, 0.9]])
    boxes = torch.tensor([[4.0, 2, 12, 5], [0, 7, 4, 9], [10, 7, 12, 9]])
    filled = code.inference._masks_in_boxes(classes, masks, boxes)
    assert torch.equal(filled[0], masks[1] & (torch.arange(12) >= 4))
    assert torch.equal(filled[1], masks[2] & (torch.arange(9)[:, None] >= 7))
    assert not filled[2].any()


CHECKS = {
    check.__name__.removeprefix("check_"): check
    for check in (
        check_criterion,
        check_empty,
        check_finite,
        check_precision,
        check_costs,
        check_targets,
        check_instances,
        check_boxes,
    )
}

# (check that must fail, module, expression, what it becomes)
MUTATIONS = [
    # points
    ("criterion", "points", ".mul_(2).sub_(1)", ".mul_(1).sub_(0)"),
    ("criterion", "points", "align_corners=False", "align_corners=True"),
    ("criterion", "points", "settings.points * settings.oversample", "settings.points * 2"),
    ("criterion", "points", "settings.importance * settings.points", "0.5 * settings.points"),
    ("criterion", "points", "_least(values.abs(), ", "_least(values.relu(), "),
    ("criterion", "points", "partition(count - 1, axis=1)", "partition(0, axis=1)"),
    (
        "criterion",
        "points",
        "torch.cat((uncertain, uniform), dim=1)",
        "torch.cat((uncertain, uncertain), dim=1)",
    ),
    ("criterion", "points", "(images, settings.points, 2),", "(masks, settings.points, 2),"),
    # costs
    ("costs", "matching", "settings.mask_weight * cross_entropy", "cross_entropy"),
    ("costs", "matching", "- settings.class_weight * of_class", "+ settings.class_weight * of_class"),
    ("costs", "matching", "settings.class_weight * of_class", "of_class"),
    ("costs", "matching", "settings.dice_weight * dice", "dice"),
    ("costs", "matching", "logits.softmax(dim=-1)", "logits[..., :-1].softmax(dim=-1)"),
    ("costs", "matching", "- logits @ transposed)", "+ logits @ transposed)"),
    ("costs", "matching", "F.softplus(logits)", "F.softplus(-logits)"),
    ("costs", "matching", "transposed + 1) / (sizes + 1)", "transposed) / (sizes + 1)"),
    ("costs", "matching", "(2 * probabilities @", "(probabilities @"),
    ("costs", "matching", "/ (sizes + 1)", "/ (sizes + 2)"),
    ("costs", "matching", "/ points", "/ (points + 1)"),
    ("costs", "matching", "places[image_of]", "places[0 * image_of]"),
    # pairs
    ("criterion", "matching", "row + image * queries", "row"),
    ("criterion", "matching", "column + first", "column"),
    ("criterion", "matching", "first += count", "first += len(row)"),
    ("criterion", "matching", "costs[image, :, :count]", "-costs[image, :, :count]"),
    ("finite", "matching", "finite = all(", "finite = any("),
    # losses
    ("criterion", "criterion", "weights[-1] = no_object_weight", "weights[-1] = 0.1"),
    ("criterion", "criterion", "logits.new_ones(", "logits.new_zeros("),
    ("criterion", "criterion", "logits.shape[2] - 1)", "0)"),
    ("criterion", "criterion", 'reduction="none").mean(dim=1)', 'reduction="none").sum(dim=1)'),
    ("criterion", "criterion", "overlap = 2 *", "overlap = 1 *"),
    ("criterion", "criterion", "(overlap + 1)", "overlap"),
    ("criterion", "criterion", "(sizes + 1)", "(sizes + 1e-5)"),
    ("criterion", "criterion", "probabilities.sum(dim=1) +", "probabilities.square().sum(dim=1) +"),
    ("criterion", "criterion", "= settings.class_weight *", "= 2 *"),
    ("criterion", "criterion", "settings.mask_weight *", "5 *"),
    ("criterion", "criterion", "settings.dice_weight *", "2 *"),
    ("criterion", "criterion", "(cross_entropy.sum() / count)", "cross_entropy.mean()"),
    ("criterion", "criterion", "(dice.sum() / count)", "dice.mean()"),
    ("criterion", "criterion", "float(len(masks))", "float(len(masks) // 2)"),
    ("criterion", "criterion", "points.candidates[index]", "points.candidates[0]"),
    ("criterion", "criterion", "points.uniform[index]", "points.uniform[0]"),
    ("criterion", "criterion", "matches.queries[index]", "matches.queries[0]"),
    (
        "criterion",
        "criterion",
        "sorted_points[objects] = points",
        "sorted_points[objects.sort().values] = points",
    ),
    ("empty", "criterion", ".clamp(min=1)", ""),
    ("finite", "criterion", "return losses if matches.finite else", "return losses if True else"),
    ("precision", "criterion", "enabled=False", "enabled=True"),
    ("precision", "criterion", "map(at_least_float32, part)", "part"),
    # targets and inference
    ("targets", "targets", "(0, size[1] - masks.shape[2], 0,", "(size[1] - masks.shape[2], 0, 0,"),
    ("instances", "inference", "full > 0", "full.sigmoid() > 0.6"),
    ("instances", "inference", "torch.where(positive, full.sigmoid(), 0)", "full.sigmoid()"),
    ("instances", "inference", "[..., :height, :width]", ""),
    ("instances", "inference", "align_corners=False", "align_corners=True"),
    ("instances", "inference", "values * quality[queries]", "values"),
    ("instances", "inference", "descending=True, stable=True)\n    order = ", "stable=True)\n    order = "),
    ("instances", "inference", "min(limit, classes.numel())", "min(limit, len(classes))"),
    ("instances", "inference", "% classes.shape[1]", "% (classes.shape[1] + 1)"),
    ("instances", "inference", "order[scores[order] > 0]", "order"),
    ("boxes", "structures", "places + 1", "places"),
    ("boxes", "structures", "torch.minimum(low, high)", "low"),
    ("boxes", "inference", "classes.amax(dim=1)", "(-classes).amax(dim=1)"),
    ("boxes", "inference", "clip_masks(masks[best], boxes)", "masks[best]"),
    ("boxes", "inference", "likely[overlaps.argmax(dim=1)]", "overlaps.argmax(dim=1)"),
    ("boxes", "inference", "overlaps.argmax(dim=1)", "overlaps.argmin(dim=1)"),
]


@pytest.mark.parametrize("check", CHECKS)
def test_source_as_it_is_passes(load, check):
    CHECKS[check](load_modules(MODULES), load)


@pytest.mark.parametrize(("check", "module", "old", "new"), MUTATIONS)
def test_change_is_noticed(load, check, module, old, new):
    code = load_modules(MODULES, module, old, new)
    with pytest.raises((AssertionError, IndexError, RuntimeError, TypeError)):
        CHECKS[check](code, load)
