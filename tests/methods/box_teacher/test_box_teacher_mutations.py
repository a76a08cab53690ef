"""No rule of BoxTeacher's labels and losses can change unnoticed.

Each case rewrites one expression of the source, loads the changed modules beside the real ones and
expects a check against the stored vectors to fail; the same checks pass on the source as it is.
"""

from __future__ import annotations

import pytest
import torch

from tests.mutations import load_modules

MODULES = {  # in the order of their imports
    "ema": "pipeline.engine.ema",
    "pairwise": "pipeline.methods.box_supervision.pairwise",
    "affinity": "pipeline.methods.box_teacher.affinity",
    "confidence": "pipeline.methods.box_teacher.confidence",
    "matching": "pipeline.methods.box_teacher.matching",
    "losses": "pipeline.methods.box_teacher.losses",
}


def check_affinity(code, load, close):
    arrays = load("mask_affinity")
    for index in range(3):
        masks, valid = arrays[f"masks_{index}"], arrays[f"image_mask_{index}"][None] > 0
        size, dilation = int(arrays[f"kernel_{index}"]), int(arrays[f"dilation_{index}"])
        close(code.affinity.mask_affinity(masks, valid, size, dilation), arrays[f"out_{index}"])
    assert code.affinity.affine_pairs(torch.tensor([0.5]), 0.5).tolist() == [True]


def check_scores(code, load, close):
    scores, certainty = torch.tensor([0.36, 1.0, 0.5]), torch.tensor([0.25, 0.81, 0.0])
    close(code.confidence.mask_aware_confidence(scores, certainty), torch.tensor([0.3, 0.9, 0.0]))
    close(code.confidence.pseudo_mask_weights(scores, certainty), torch.tensor([0.15**0.5, 0.9, 0.0]))


def check_matching(code, load, close):
    for case in ("random", "index0_overwritten", "index1_kept", "tie", "score_thr", "iou_thr7"):
        arrays = load("pseudo_labeling", case)
        for slip in (True, False):
            matched = code.matching.match_boxes(
                arrays["pred_boxes"],
                arrays["pred_scores"],
                arrays["gt_boxes"],
                iou_threshold=float(arrays["iou_thr"]),
                score_threshold=float(arrays["score_thr"]),
                reassign_first=slip,
            )
            weights = torch.where(matched >= 0, arrays["pred_mask_score"][matched], torch.tensor(0.0))
            if slip:
                assert torch.equal(weights, arrays["flags"])
            elif case == "index0_overwritten":
                assert 0 in matched.tolist()
    exact = torch.tensor([[0.0, 0, 2, 1]]), torch.tensor([0.5]), torch.tensor([[0.0, 0, 1, 1]])
    limits = {"iou_threshold": 0.5, "score_threshold": 0.5}
    assert code.matching.match_boxes(*exact, **limits).tolist() == [0]


def check_losses(code, load, close):
    arrays = load("instance_losses")
    for index in range(2):
        logits, masks = arrays[f"logits_{index}"][:, 0], arrays[f"gt_{index}"][:, 0]
        weights = torch.linspace(0.2, 1, len(logits))
        loss = code.losses.pseudo_mask_loss(logits, masks, weights)
        close(loss, (weights * arrays[f"dice_{index}"]).sum())
        loss = code.losses.mean_projection_loss(logits, masks, weights)
        close(loss, (weights * arrays[f"avg_projection_{index}"]).sum())
    weights = torch.tensor([0.5, 0.0, 0.25])
    assert code.losses.normaliser(weights, "count").item() == 2
    assert code.losses.normaliser(weights, "weights").item() == pytest.approx(0.75, rel=1e-5)
    assert code.losses.normaliser(weights[:0], "weights").item() == pytest.approx(1e-6)
    assert code.losses.normaliser(weights[:0], "count").item() == 1


def check_affinity_loss(code, load, close):
    """Proposals of one box with unequal logits and weights, one of them without a pixel in its box."""
    draw = torch.Generator().manual_seed(0)
    logits, boxes = torch.randn(4, 8, 7, generator=draw), torch.zeros(4, 8, 7, dtype=torch.bool)
    boxes[0, 1:6, 2:5] = boxes[2, 3:] = boxes[3, 2:7, 2:5] = True
    affinity = torch.rand(1, 8, 8, 7, generator=draw)
    weights, chosen = torch.tensor([0.5, 0.7, 0.25, 0.9]), torch.zeros(4, dtype=torch.int64)
    p = logits.sigmoid()
    steps = [(y, x) for y in (-2, 0, 2) for x in (-2, 0, 2) if (y, x) != (0, 0)]
    for pairs in (affinity >= 0.5, affinity):
        expected = 0.0
        for n in range(4):
            total, counted = 0.0, 0.0
            for y, x in boxes[n].nonzero().tolist():
                for j, (dy, dx) in enumerate(steps):
                    u = float(pairs[0, j, y, x])
                    counted += u
                    if 0 <= y + dy < 8 and 0 <= x + dx < 7:
                        a, b = float(p[n, y, x]), float(p[n, y + dy, x + dx])
                        total -= u * float(torch.tensor(a * b + (1 - a) * (1 - b)).log())
            expected += float(weights[n]) * total / max(counted, 1)
        loss = code.losses.mask_affinity_loss(logits, boxes, pairs, chosen, weights, dilation=2)
        assert float(loss) == pytest.approx(expected, rel=1e-4)


def check_average(code, load, close):
    arrays = load("ema_and_warmup")
    momenta = [code.ema.growing_momentum(step, 0.999) for step in arrays["step_iters"].tolist()]
    close(torch.tensor(momenta), arrays["momentum_used"])


CHECKS = {
    check.__name__.removeprefix("check_"): check
    for check in (
        check_affinity,
        check_scores,
        check_matching,
        check_losses,
        check_affinity_loss,
        check_average,
    )
}

# (check that must fail, module, expression, what it becomes)
MUTATIONS = [
    ("affinity", "affinity", "(masks + mean) / 2", "mean"),
    (
        "affinity",
        "affinity",
        "stride=1, padding=padding)",
        "stride=1, padding=padding, count_include_pad=False)",
    ),
    ("affinity", "affinity", "near * far + (1 - near) * (1 - far)", "near * far"),
    ("affinity", "affinity", "equal * valid[:, far_rows, far_columns]", "equal"),
    ("affinity", "affinity", "equal * valid[:, rows, columns]", "equal"),
    ("affinity", "affinity", "affinity >= threshold", "affinity > threshold"),
    ("scores", "confidence", "return (scores * certainty).sqrt()", "return scores * certainty"),
    ("scores", "confidence", "(scores.sqrt() * certainty).sqrt()", "(scores * certainty).sqrt()"),
    ("matching", "matching", "1 if reassign_first else 0", "0"),
    ("matching", "matching", "1 if reassign_first else 0", "1"),
    ("matching", "matching", "np.argsort(-scores", "np.argsort(scores"),
    ("matching", "matching", "len(free) - 1 - int(free[::-1].argmax())", "int(free.argmax())"),
    ("matching", "matching", "scores >= score_threshold", "scores > score_threshold"),
    ("matching", "matching", "scores >= score_threshold", "scores >= 0"),
    ("matching", "matching", "free[best] >= iou_threshold", "free[best] > iou_threshold"),
    ("losses", "losses", "(across + down)", "across"),
    ("losses", "losses", "(weights > 0).sum()", "(weights >= 0).sum()"),
    ("losses", "losses", "LEAST_WEIGHT = 1e-6", "LEAST_WEIGHT = 1e-3"),
    ("losses", "losses", ".clamp(min=1).to(", ".to("),
    ("losses", "losses", "(weights * dice_loss(", "(dice_loss("),
    ("affinity_loss", "losses", "counted.clamp(min=1)", "counted.sum().clamp(min=1)"),
    ("affinity_loss", "losses", "offsets, True)", "offsets, False)"),
    ("affinity_loss", "losses", "(weights * sums /", "(sums /"),
    ("affinity_loss", "pairwise", "self.length - len(values)", "0"),
    ("affinity_loss", "pairwise", "dtype=count_type)", "dtype=torch.int32)"),
    (
        "average",
        "ema",
        "return min(momentum, 1 - 1 / (step + 1))",
        "return min(momentum, 1 - 1 / (step + 2))",
    ),
]


@pytest.mark.parametrize("check", CHECKS)
def test_source_as_it_is_passes(load, close, check):
    CHECKS[check](load_modules(MODULES), load, close)


@pytest.mark.parametrize(("check", "module", "old", "new"), MUTATIONS)
def test_change_is_noticed(load, close, check, module, old, new):
    code = load_modules(MODULES, module, old, new)
    with pytest.raises((AssertionError, RuntimeError)):
        CHECKS[check](code, load, close)
