"""No constant and no rule of MAL's losses can change unnoticed.

Each case rewrites one expression of the source, loads the changed modules beside the real ones and
expects a parity check to fail; the same checks pass on the source as it is.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from tests.mutations import load_modules

MODULES = {  # in the order of their imports
    "dice": "pipeline.methods.dice",
    "log_odds": "pipeline.methods.mal.log_odds",
    "stencil": "pipeline.methods.mal.stencil",
    "settled": "pipeline.methods.mal.settled",
    "mean_field": "pipeline.methods.mal.mean_field",
    "losses": "pipeline.methods.mal.losses",
}


# --- the checks: each raises AssertionError when the modules do not follow the specification -----------


def check_dice(code, load, released, naive):
    arrays = load("dice_loss")
    loss = code.losses.dice(arrays["input"], arrays["target"])
    torch.testing.assert_close(loss, arrays["loss"], rtol=0, atol=2e-6)
    small = code.losses.dice(torch.tensor([[0.1, 0.0]]), torch.tensor([[0.2, 0.0]]))
    assert small.tolist() == pytest.approx([1 - 0.04 / 0.052], rel=1e-6)


def check_mil(code, load, released, naive):
    for name in ("basic", "edges", "fractional"):
        arrays = load(f"mil_loss_{name}")
        probabilities = arrays["prob"].requires_grad_()
        loss = code.losses.mil_loss(probabilities, arrays["box"])
        torch.testing.assert_close(loss, arrays["loss"], rtol=0, atol=2e-6)
        slope = torch.autograd.grad(loss.sum(), probabilities)[0]
        torch.testing.assert_close(slope, arrays["grad_prob"], rtol=1e-4, atol=1e-7)


def check_step(code, load, released, naive):
    arrays = load("training_step_loss")
    for case, (epoch, step) in enumerate(arrays["epoch_step"].tolist()):
        student, teacher = (arrays[f"{name}_logits"][:, 0] for name in ("student", "teacher"))
        rest = (arrays["image"], arrays["box"][:, 0], released)
        losses = code.losses.mal_losses(student, teacher, *rest, step=step, first_epoch=epoch == 0)
        for name in ("loss_mil", "loss_crf"):
            torch.testing.assert_close(losses[name], arrays[name][case], rtol=0, atol=5e-6)
    assert code.losses.warmup(0, 0, True) == 1


def check_kernel(code, load, released, naive):
    for name, size in (("basic", 3), ("kernel5", 5)):
        arrays = load(f"meanfield_{name}")
        half = code.stencil.pair_kernel(arrays["image"], size, float(arrays["zeta"]))
        expected = arrays["kernel"].transpose(0, 1)[size**2 // 2 + 1 :]
        torch.testing.assert_close(half, expected, rtol=0, atol=1e-4)


def check_mean_field(code, load, released, naive):
    """Against the vectors, and against the definition on scenes in which all of the shortcuts act."""
    for name in ("basic", "no_box", "edges", "fractional_box"):
        arrays = load(f"meanfield_{name}")
        data = (arrays["image"], arrays["prob"], arrays.get("box"))
        refined = code.mean_field.refine(*data, released.mean_field)
        assert torch.equal(refined, arrays["refined"] > 0)
    draw = torch.Generator().manual_seed(1)
    coarse = torch.randn(4, 4, 4, 5, generator=draw)
    smooth = torch.nn.functional.interpolate(coarse, size=(24, 30), mode="bilinear")
    images, boxes = smooth[:, :3].clone(), torch.rand(4, 24, 30, generator=draw).mul(8).clamp(max=1)
    images[2:] += 0.2 * torch.randn(2, 3, 24, 30, generator=draw)
    boxes[:, :3] = 0
    code.mean_field.CPU_PORTION = 24 * 30 * 3  # three images, and one
    for iterations in (2, 9, 30):
        some = released.mean_field.model_copy(update={"iterations": iterations})
        odds = code.mean_field.log_odds(images, smooth[:, 3].sigmoid(), boxes, some)
        messages = odds.double().exp2() / (1 + odds.double().exp2())
        expected = naive(images, smooth[:, 3].sigmoid(), boxes, some)
        torch.testing.assert_close(messages, expected, rtol=0, atol=1e-4)


def check_drift(code, load, released, naive):
    """Pixels on their own: l / (1 + 1e-6) a hundred times."""
    images = torch.arange(9.0).view(1, 1, 3, 3).expand(1, 3, 3, 3)
    odds = code.mean_field.log_odds(images, torch.full((1, 3, 3), 0.5), None, released.mean_field)
    expected = -100 * 2e-6 / torch.log(torch.tensor(2.0))  # to first order; 2e-6 is 1e-6 / (1 - l)
    torch.testing.assert_close(odds, expected.expand(1, 3, 3), rtol=2e-3, atol=0)
    assert code.mean_field.refine(images, torch.full((1, 3, 3), 0.51), None, released.mean_field).all()


def check_softplus(code, load, released, naive):
    bits = torch.tensor([-30.0, 0.0, 11.0, 20.0, 63.0, 65.0, 1e4])
    actual = code.log_odds.softplus2_(bits.clone(), torch.empty(7))
    expected = torch.tensor(
        [2.0**-30 / 0.6931471806, 1.0, 11.0007043, 20 + 2.0**-20 / 0.6931471806, 63.0, 65.0, 1e4]
    )
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=0)


CHECKS = {
    check.__name__.removeprefix("check_"): check
    for check in (
        check_dice,
        check_mil,
        check_step,
        check_kernel,
        check_mean_field,
        check_drift,
        check_softplus,
    )
}

# (check that must fail, module, expression, what it becomes)
MUTATIONS = [
    # dice
    ("dice", "losses", "2 * 0.001", "0.001"),
    ("dice", "losses", "DICE_EPSILON)", "1e-5)"),
    ("dice", "dice", "(sizes + epsilon)", "(sizes + EPSILON)"),
    # multiple instances
    ("mil", "losses", "for axis in (1, 2)", "for axis in (1, 1)"),
    ("mil", "losses", "probabilities.max(dim=axis).values", "probabilities.amax(dim=axis)"),
    ("mil", "losses", "boxes.amax(dim=axis)", "boxes.amax(dim=axis).ceil()"),
    ("mil", "losses", "losses[0] + losses[1]", "(losses[0] + losses[1]) / 2"),
    # a training step
    ("step", "losses", "COUNT_EPSILON = 1e-4", "COUNT_EPSILON = 2e-4"),
    ("step", "losses", "refined).mean()", "refined).sum()"),
    ("step", "losses", "sigmoid()) / 2", "sigmoid())"),
    ("step", "losses", "step / steps", "(step + 1) / steps"),
    ("step", "losses", "steps, 1.0)", "steps, 2.0)"),
    ("step", "losses", "if first_epoch and steps else 1.0", "if steps else 1.0"),
    ("step", "losses", "settings.mil_warmup", "settings.crf_warmup"),
    ("step", "losses", "settings.mil_weight *", "2 *"),
    ("step", "losses", "settings.crf_weight *", "2 *"),
    ("step", "losses", 'mode="bilinear", align_corners=False', 'mode="nearest"'),
    ("step", "losses", "align_corners=False", "align_corners=False, antialias=True"),
    # weights
    ("kernel", "stencil", "-0.5 / zeta**2", "-1 / zeta**2"),
    ("kernel", "stencil", "/ math.log(2)", ""),
    ("kernel", "stencil", "LEAST_WEIGHT = 1e-12", "LEAST_WEIGHT = 1e-3"),
    ("kernel", "stencil", "addcmul_(difference, difference)", "add_(difference.abs())"),
    ("kernel", "stencil", "> (0, 0)]", "> (0, -1)]"),
    # the iteration
    ("drift", "log_odds", "math.log2(1e-6)", "math.log2(1.01e-6)"),
    ("softplus", "log_odds", "LINEAR_FROM = 64", "LINEAR_FROM = 200"),
    ("softplus", "log_odds", "LINEAR_FROM = 64", "LINEAR_FROM = 10"),
    ("mean_field", "log_odds", "1 / math.log(2)", "1 / math.log(2.001)"),
    ("drift", "mean_field", "settings) > 0", "settings) >= 0.1"),
    ("mean_field", "mean_field", "torch.add(odds, unary, out=lost)", "lost.copy_(odds)"),
    ("drift", "mean_field", "torch.add(lost, LOG2_EPSILON, out=against)", "against.fill_(LOG2_EPSILON)"),
    ("mean_field", "mean_field", "probabilities * boxes", "probabilities"),
    ("mean_field", "mean_field", "iterations - DENSE_ITERATIONS", "iterations - DENSE_ITERATIONS - 1"),
    ("mean_field", "stencil", ", (total[step:], weights, values[:-step])]", "]"),
    # settled pixels
    ("mean_field", "settled", "alpha=-1", "alpha=0"),
    ("mean_field", "settled", "following >= bounds.high", "following >= bounds.low"),
    ("mean_field", "settled", "following <= bounds.low", "following <= bounds.high"),
    ("mean_field", "settled", "torch.where(up, equal,", "torch.where(up, every,"),
    ("mean_field", "mean_field", "iterations - dense)", "iterations - dense - 1)"),
    ("mean_field", "mean_field", "torch.finfo(boxes.dtype).tiny", "0.5"),
    ("mean_field", "settled", "part.columns + start", "part.columns"),
    ("mean_field", "settled", "slope.pow(iterations)", "slope.pow(iterations - 1)"),
    ("drift", "settled", "slope = (1 + tip).mul_(scale)", "slope = scale.clone()"),
    ("drift", "settled", ".add_(series.mul_(tip).mul_(scale))", ""),
    ("mean_field", "settled", "_times(matrix, lost).add_(lost)", "_times(matrix, lost)"),
    ("mean_field", "settled", "sum(dim=0).add_(unary.take(entries))", "sum(dim=0)"),
    ("mean_field", "settled", "weights.masked_fill_(moving, 0)", "pass"),
]


@pytest.fixture
def run(load, released, naive_mean_field):
    def check(name: str, code: SimpleNamespace) -> None:
        CHECKS[name](code, load, released, naive_mean_field)

    return check


@pytest.mark.parametrize("check", CHECKS)
def test_source_as_it_is_passes(run, check):
    run(check, load_modules(MODULES))


@pytest.mark.parametrize(("check", "module", "old", "new"), MUTATIONS)
def test_change_is_noticed(run, check, module, old, new):
    code = load_modules(MODULES, module, old, new)
    with pytest.raises(AssertionError):
        run(check, code)
