"""No constant and no rule of the losses can change unnoticed.

Each case rewrites one expression of the source, loads the changed modules beside the real ones and
expects a parity check to fail; the same checks pass on the source as it is.  (The settings, such as the
threshold, are varied in test_boxinst_method.py.)
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.mutations import load_modules

MODULES = {  # in the order of their imports
    "color": "pipeline.methods.color",
    "dice": "pipeline.methods.dice",
    "neighbours": "pipeline.methods.box_supervision.neighbours",
    "pairwise": "pipeline.methods.box_supervision.pairwise",
    "losses": "pipeline.methods.box_supervision.losses",
    "targets": "pipeline.methods.box_supervision.targets",
}


# --- the checks: each raises AssertionError when the modules do not follow the specification -----------


def check_lab(code, load, close, published):
    """Against a float64 version whose numbers are typed in from the specification a second time."""
    draw = np.random.default_rng(0)
    dark = np.stack(np.meshgrid([0, 3, 11, 12, 18], [0, 2, 9, 15, 30], [0, 5, 10, 13, 255]), -1)
    rgb = np.concatenate([dark.reshape(-1, 3), draw.integers(0, 256, (400, 3))])
    s = rgb / 255
    linear = np.where(s > 0.04045, ((s + 0.055) / 1.055) ** 2.4, s / 12.92)
    matrix = np.array(
        [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
    )
    xyz = linear @ matrix.T / np.array([0.95047, 1, 1.08883])
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116).T
    expected = np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)
    actual = code.color.rgb_to_lab(torch.from_numpy(rgb.T[None, :, :, None].copy()))[0, :, :, 0].T
    np.testing.assert_allclose(actual, expected, atol=3e-4)


def check_similarity(code, load, close, published):
    arrays = load("color_similarity")
    for index in range(5):
        similarity = code.targets.color_similarity(
            arrays[f"lab_{index}"],
            arrays[f"mask_{index}"][None] > 0,
            int(arrays[f"kernel_{index}"]),
            int(arrays[f"dilation_{index}"]),
        )
        close(similarity, arrays[f"out_{index}"])


def check_targets(code, load, close, published):
    arrays = load("box_supervision_targets")
    size = tuple(arrays["padded_hw"].tolist())
    for index in range(2):
        image, boxes = arrays[f"image_bgr_{index}"].flip(0), arrays[f"boxes_{index}"]
        padded = torch.zeros(1, 3, *size)
        padded[0, :, : image.shape[1], : image.shape[2]] = image
        masks = code.targets.box_masks(boxes, size, 4)
        assert torch.equal(masks, arrays[f"gt_bitmasks_{index}"] > 0)
        full = code.targets.box_masks(boxes, size, 1)
        assert torch.equal(full.sum((1, 2)), arrays[f"bitmask_pixel_sum_full_{index}"].long())
        rows, columns = full[0].nonzero().T.double()
        torch.testing.assert_close(
            code.targets.box_centroids(boxes, size)[0], torch.stack((columns.mean(), rows.mean())).float()
        )
        valid = code.targets.valid_masks(
            [tuple(image.shape[1:])],
            [int(arrays[f"original_hw_{index}"][0])],
            size,
            4,
            published.bottom_pixels_removed,
            padded.device,
        )
        similarity = code.targets.color_similarity(code.targets.pooled_lab(padded, 4), valid, 3, 2)
        torch.testing.assert_close(similarity, arrays[f"color_similarity_{index}"], rtol=0, atol=1e-4)


def check_projection(code, load, close, published):
    small = code.dice.dice_loss(torch.tensor([[1e-3, 0.0]]), torch.tensor([[2e-3, 0.0]]))
    assert small.tolist() == pytest.approx([1 - 4e-6 / 1.5e-5], rel=1e-6)
    arrays = load("dice_project_term")
    for index in range(3):
        logits = arrays[f"logits_{index}"].requires_grad_()
        loss = code.losses.projection_loss(logits[:, 0], arrays[f"gt_{index}"][:, 0] > 0)
        close(loss, arrays[f"project_{index}"])
        close(torch.autograd.grad(loss, logits)[0], arrays[f"grad_project_{index}"], rtol=1e-3, share=2e-5)
    tied = torch.zeros(1, 4, 5, requires_grad=True)
    code.losses.projection_loss(tied, torch.eye(4, 5)[None] > 0).backward()
    assert int((tied.grad != 0).sum()) == 4 + 5 - 1


def check_pairwise(code, load, close, published):
    arrays = load("pairwise_term")
    for index in range(4):
        logits = arrays[f"logits_{index}"].requires_grad_()
        weights, everywhere = arrays[f"weights_{index}"] > 0, torch.ones_like(logits[:, 0], dtype=torch.bool)
        loss, _ = code.losses.pairwise_loss(
            logits[:, 0],
            everywhere,
            weights,
            torch.arange(len(logits)),
            dilation=int(arrays[f"dilation_{index}"]),
        )
        close(loss, arrays[f"loss_{index}"])
        close(torch.autograd.grad(loss, logits)[0], arrays[f"grad_logits_{index}"], rtol=1e-3, share=2e-5)


def check_pairs_in_boxes(code, load, close, published, naive_pairwise):
    """Centre in the box, both directions, inclusive threshold, at least one pair, windows at the border."""
    arrays = load("mask_losses")
    for case in ("batch2", "one", "nopair"):
        similarity = arrays[f"{case}.color_similarity_per_image"]
        masks = arrays[f"{case}.gt_bitmasks"][arrays[f"{case}.gt_inds"]] > 0
        images = arrays[f"{case}.im_inds"]
        pairs = code.targets.similar_pairs(similarity, published.color_threshold)
        assert torch.equal(pairs, similarity >= 0.3)
        draw = torch.Generator().manual_seed(0)
        logits = torch.randn(masks.shape, generator=draw).requires_grad_()
        loss, share = code.losses.pairwise_loss(logits, masks, pairs, images, dilation=2)
        expected = naive_pairwise(logits, masks, pairs, images, 2)
        close(loss, expected.detach())
        close(*(torch.autograd.grad(value, logits)[0] for value in (loss, expected)), rtol=1e-3, share=2e-5)
        weights = pairs[images] & masks[:, None]
        assert float(share) == pytest.approx(float(weights.sum() / (8 * masks.sum())))
    single = torch.zeros(1, 8, 1, 3, dtype=torch.bool)
    single[0, 4, 0, 0] = True
    loss, _ = code.losses.pairwise_loss(
        torch.zeros(1, 1, 3), torch.ones(1, 1, 3, dtype=torch.bool), single, torch.tensor([0]), dilation=1
    )
    assert float(loss) == pytest.approx(np.log(2))


def check_warmup(code, load, close, published):
    assert [code.losses.warmup(step, 10_000) for step in (0, 4_999, 9_999, 20_000)] == [1e-4, 0.5, 1.0, 1.0]


CHECKS = {
    check.__name__.removeprefix("check_"): check
    for check in (
        check_lab,
        check_similarity,
        check_targets,
        check_projection,
        check_pairwise,
        check_pairs_in_boxes,
        check_warmup,
    )
}

# (check that must fail, module, expression, what it becomes)
MUTATIONS = [
    # LAB
    ("lab", "color", "= 0.04045", "= 0.045"),
    ("lab", "color", "= 12.92", "= 12.5"),
    ("lab", "color", "= 0.055", "= 0.056"),
    ("lab", "color", "= 2.4", "= 2.39"),
    *(
        ("lab", "color", entry, entry[:-2] + f"{99 - int(entry[-2:]):02d}")
        for entry in (
            "0.412453",
            "0.357580",
            "0.180423",
            "0.212671",
            "0.715160",
            "0.072169",
            "0.019334",
            "0.119193",
            "0.950227",
        )
    ),
    ("lab", "color", "(0.95047, 1.0, 1.08883)", "(0.9505, 1.0, 1.08883)"),
    ("lab", "color", "(0.95047, 1.0, 1.08883)", "(0.95047, 1.0, 1.089)"),
    ("lab", "color", "LAB_THRESHOLD = 0.008856", "LAB_THRESHOLD = 0.02"),
    ("lab", "color", "= 7.787", "= 7.8"),
    ("lab", "color", "= 16 / 116", "= 15 / 116"),
    ("lab", "color", "** (1 / 3)", "** 0.334"),
    ("lab", "color", "116 * y - 16", "116 * y - 15"),
    ("lab", "color", "500 *", "499 *"),
    ("lab", "color", "200 *", "199 *"),
    ("lab", "color", "/ 255", "/ 256"),
    # similarity
    ("similarity", "targets", "SIMILARITY_DECAY = 0.5", "SIMILARITY_DECAY = 0.501"),
    ("similarity", "targets", ".sum(dim=1).sqrt()", ".sum(dim=1)"),
    (
        "similarity",
        "targets",
        "closeness * valid[:, far_rows, far_columns]",
        "closeness * valid[:, rows, columns]",
    ),
    (
        "similarity",
        "targets",
        "closeness * valid[:, rows, columns]",
        "closeness * valid[:, far_rows, far_columns]",
    ),
    ("similarity", "neighbours", "range(-reach, reach + 1, dilation)", "range(reach, -reach - 1, -dilation)"),
    ("similarity", "neighbours", "size // 2 * dilation", "size // 2 * dilation + 1"),
    # targets
    ("targets", "targets", ".floor()", ""),
    ("targets", "targets", ".floor()", ".round()"),
    ("targets", "targets", "torch.arange(stride // 2,", "torch.arange(0,"),
    ("targets", "targets", "[0, 0, 1, 1]", "[0, 0, 0, 0]"),
    ("targets", "targets", "(first + end - 1) / 2", "(first + end) / 2"),
    ("targets", "targets", "bottom_pixels_removed * height / original", "bottom_pixels_removed"),
    ("targets", "targets", "(columns < limits[:, 1])", "(columns < limits[:, 1] + 9)"),
    # projection
    ("projection", "dice", "EPSILON = 1e-5", "EPSILON = 1e-6"),
    ("projection", "dice", "2 * overlap", "overlap"),
    ("projection", "dice", "predicted.square()", "predicted"),
    ("projection", "dice", "target.square()", "target"),
    ("projection", "losses", "for axis in (1, 2)", "for axis in (1, 1)"),
    ("projection", "losses", "logits.max(dim=axis).values", "logits.amax(dim=axis)"),
    ("projection", "losses", "/ len(logits)", "/ (2 * len(logits))"),
    # pairwise
    ("pairwise", "pairwise", "term -= _residual_(half_joint)", "pass"),
    ("pairwise", "pairwise", ".sub_(half_joint)", ""),
    ("pairwise", "pairwise", "_residual_(half).mul_(degree)", "half.mul_(0)"),
    ("pairwise", "pairwise", "sub_(pull)", "add_(pull)"),
    (
        "pairwise",
        "pairwise",
        "inside[:, j, rows, columns] = pairs[:, j, rows, columns]",
        "inside[:, j] = pairs[:, j]",
    ),
    ("pairwise", "pairwise", "forward[:-step] + backward[step:]", "forward[:-step] + forward[:-step]"),
    ("pairs_in_boxes", "targets", "similarity >= threshold", "similarity > threshold"),
    ("pairs_in_boxes", "pairwise", "            weights.mul_(masks)", "            weights"),
    ("pairs_in_boxes", "pairwise", "for window in in_images]).mul_(masks)", "for window in in_images])"),
    ("pairs_in_boxes", "pairwise", "forward[:-step] + backward[step:]", "forward[:-step] | backward[step:]"),
    ("pairs_in_boxes", "pairwise", "argmax(dim=1) - reach)", "argmax(dim=1))"),
    ("pairs_in_boxes", "pairwise", "argmax(dim=1) + reach)", "argmax(dim=1))"),
    ("pairs_in_boxes", "losses", "counted.clamp(min=1),", "counted.clamp(min=2),"),
    ("warmup", "losses", "step + 1", "step"),
    ("warmup", "losses", ", 1.0)", ", 2.0)"),
]


@pytest.fixture
def run(load, close, published, naive_pairwise):
    def check(name: str, code: SimpleNamespace) -> None:
        extra = (naive_pairwise,) if name == "pairs_in_boxes" else ()
        CHECKS[name](code, load, close, published, *extra)

    return check


@pytest.mark.parametrize("check", CHECKS)
def test_source_as_it_is_passes(run, check):
    run(check, load_modules(MODULES))


@pytest.mark.parametrize(("check", "module", "old", "new"), MUTATIONS)
def test_change_is_noticed(run, check, module, old, new):
    code = load_modules(MODULES, module, old, new)
    with pytest.raises(AssertionError):
        run(check, code)
