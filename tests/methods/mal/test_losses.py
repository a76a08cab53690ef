from __future__ import annotations

import pytest
import torch

from pipeline.methods.mal.losses import crf_loss, dice, mal_losses, mil_loss, warmup
from pipeline.methods.mal.mean_field import refine


def matches(actual, expected, rtol, atol):
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol)


def test_dice_matches_the_reference(load):
    arrays = load("dice_loss")
    inputs = arrays["input"].requires_grad_()
    loss = dice(inputs, arrays["target"])
    matches(loss, arrays["loss"], 0, 2e-6)
    loss.sum().backward()
    matches(inputs.grad, arrays["grad_input"], 1e-4, 1e-7)


def test_dice_by_hand():
    """Overlap .02 twice, sizes .01 and .04, each with .001."""
    loss = dice(torch.tensor([[0.1, 0.0]]), torch.tensor([[0.2, 0.0]]))
    assert loss.tolist() == pytest.approx([1 - 0.04 / 0.052], rel=1e-6)


@pytest.mark.parametrize("name", ["basic", "edges", "fractional"])
def test_mil_matches_the_reference(load, name):
    arrays = load(f"mil_loss_{name}")
    logits = arrays["logits"].requires_grad_()
    probabilities = logits.sigmoid()
    loss = mil_loss(probabilities, arrays["box"])
    matches(loss, arrays["loss"], 0, 2e-6)
    slopes = torch.autograd.grad(loss.sum(), (probabilities, logits))
    matches(slopes[0], arrays["grad_prob"], 1e-4, 1e-7)
    matches(slopes[1], arrays["grad_logits"], 1e-4, 1e-7)


def test_a_cross_that_touches_all_sides_costs_almost_nothing():
    box, cross = torch.zeros(2, 1, 8, 9)
    box[0, 2:7, 1:8] = 1
    cross[0, 4, 1:8] = cross[0, 2:7, 5] = 1
    assert float(mil_loss(cross, box)) == pytest.approx(0, abs=5e-4)
    assert float(mil_loss(cross, torch.zeros(1, 8, 9))) == 2


def test_crf_matches_the_reference(load, published):
    arrays = load("crf_loss")
    logits = arrays["student_logits"].requires_grad_()
    probabilities = logits.sigmoid()
    average = (probabilities.detach() + arrays["teacher_logits"].sigmoid()) / 2
    matches(average, arrays["average"], 0, 1e-6)
    refined = refine(arrays["image"], average, arrays["box"], published)
    assert torch.equal(refined, arrays["refined"] > 0)
    loss = crf_loss(probabilities, refined)
    matches(loss, arrays["loss"], 0, 2e-6)
    loss.backward()
    matches(logits.grad, arrays["grad_student_logits"], 1e-4, 1e-8)


@pytest.mark.parametrize("case", range(7))
def test_training_step_matches_the_reference(load, released, case):
    arrays = load("training_step_loss")
    epoch, step = arrays["epoch_step"][case].tolist()
    student = arrays["student_logits"][:, 0].requires_grad_()
    teacher = arrays["teacher_logits"][:, 0].requires_grad_()
    losses = mal_losses(
        student,
        teacher,
        arrays["image"],
        arrays["box"][:, 0],
        released,
        step=step,
        first_epoch=epoch == 0,
    )
    matches(losses["loss_mil"], arrays["loss_mil"][case], 0, 5e-6)
    matches(losses["loss_crf"], arrays["loss_crf"][case], 0, 5e-6)
    total = sum(losses.values())
    matches(total, arrays["loss_total"][case], 0, 5e-6)
    total.backward()
    matches(student.grad, arrays["grad_student_logits"][case], 1e-4, 1e-7)
    assert teacher.grad is None


def test_half_precision_logits_and_integer_boxes(load, released):
    """The sigmoid is taken in float32, under autocast too; crops bring their boxes as 0 and 1 in uint8."""
    arrays = load("training_step_loss")
    student, teacher = (arrays[f"{name}_logits"][:, 0].bfloat16() for name in ("student", "teacher"))
    rest = (arrays["image"], arrays["box"][:, 0].to(torch.uint8), released)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = mal_losses(student, teacher, *rest, step=0, first_epoch=False)
    expected = mal_losses(student.float(), teacher.float(), *rest, step=0, first_epoch=False)
    assert losses == {name: pytest.approx(float(value), abs=1e-6) for name, value in expected.items()}


@pytest.mark.parametrize("loss", [dice, mil_loss, crf_loss])
def test_gradient_by_finite_differences(loss):
    draw = torch.Generator().manual_seed(0)
    masks = torch.rand(2, 5, 6, generator=draw, dtype=torch.float64, requires_grad=True)
    boxes = torch.zeros(2, 5, 6, dtype=torch.float64)
    boxes[:, 1:4, 2:] = 1
    assert torch.autograd.gradcheck(lambda p: loss(p, boxes), masks)


def test_warmup():
    assert [warmup(step, 4, first_epoch=True) for step in (0, 1, 4, 9)] == [0.0, 0.25, 1.0, 1.0]
    assert [warmup(step, 4, first_epoch=False) for step in (0, 1)] == [1.0, 1.0]
    assert warmup(0, 0, first_epoch=True) == 1.0  # no warm-up
