"""What mean teacher and Guided Distillation train: their losses, phases and networks."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pipeline.engine.loop import fit
from pipeline.errors import UserError
from pipeline.methods.mean_teacher.losses import unlabelled_losses
from pipeline.methods.mean_teacher.method import MeanTeacher
from pipeline.methods.mean_teacher.pairs import Pair
from pipeline.methods.training import build_training
from pipeline.models.mask2former.predictions import QueryPredictions
from pipeline.params import PseudoMasks
from pipeline.params_file import load_params
from pipeline.weights import save_weights
from tests.mask2former_batches import drawn
from tests.mask2former_settings import PUBLISHED_LOSSES
from tests.taught_settings import BURN_IN, MODEL, make_labels, make_method, make_pairs, make_store, settings

SUPERVISED = {f"loss_{kind}{layer}" for kind in ("ce", "mask", "dice") for layer in ("", "_0")}
TAUGHT = {f"{name}_unlabelled" for name in SUPERVISED}
METRICS = {"metric_pseudo_masks", "metric_without_pseudo_masks"}
PUBLISHED = PseudoMasks(class_threshold=0.7, area_threshold=5.0, drop_empty=False)
NOTHING = PseudoMasks(class_threshold=1.0, area_threshold=0.0, drop_empty=False)


@pytest.fixture
def batch(root: Path, tmp_path: Path) -> list[Pair]:
    pairs = make_pairs(tmp_path, settings(root))
    return [pairs[index, index] for index in range(3)]


def state(module: nn.Module) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in module.state_dict().values()]


def equal(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("kind", "taught"), [("mean_teacher", (False, True)), ("guided_distillation", (True, True))]
)
def test_the_burn_in_decides_what_there_is_to_learn_from(
    root: Path, batch: list[Pair], kind: str, taught: tuple[bool, bool]
) -> None:
    method = make_method(root, settings(root, kind))
    method.module.train()
    for step, expected in zip((BURN_IN - 1, BURN_IN), taught, strict=True):
        assert set(method.losses(batch, step)) == SUPERVISED | (TAUGHT | METRICS if expected else set())


def test_the_teacher_guides_until_it_becomes_the_student(root: Path, batch: list[Pair]) -> None:
    method = make_method(root, settings(root))
    networks = method.networks
    networks.train()
    guide, student = state(networks.teacher), state(networks.student)
    assert not equal(guide, student)
    for step in range(BURN_IN):
        method.losses(batch, step)
        assert equal(state(networks.teacher), guide)
    method.losses(batch, BURN_IN)
    assert equal(state(networks.teacher), state(networks.student))
    with torch.no_grad():
        for parameter in networks.student.parameters():
            parameter += 1.0
    method.losses(batch, BURN_IN + 1)
    for before, after in zip(student, state(networks.teacher), strict=True):
        torch.testing.assert_close(after, before + 0.1, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["mean_teacher", "guided_distillation"])
def test_the_teacher_moves_before_it_labels(root: Path, batch: list[Pair], kind: str) -> None:
    networks = (method := make_method(root, settings(root, kind))).networks
    networks.train()
    labelled_by: list[Tensor] = []
    networks.teacher.register_forward_pre_hook(
        lambda teacher, _: labelled_by.append(next(teacher.parameters()).detach().clone())
    )
    student = next(networks.student.parameters())
    method.losses(batch, BURN_IN)
    assert torch.equal(labelled_by[-1], student)
    with torch.no_grad():
        student += 1.0
    method.losses(batch, BURN_IN + 1)
    torch.testing.assert_close(labelled_by[-1], student - 0.9, rtol=0, atol=1e-5)


def test_the_student_alone_has_gradients(root: Path, batch: list[Pair]) -> None:
    method = make_method(root, settings(root))
    method.module.train()
    losses = method.losses(batch, 0)
    torch.stack([losses[name] for name in TAUGHT]).sum().backward()
    assert all(parameter.grad is not None for parameter in method.networks.student.parameters())
    assert all(parameter.grad is None for parameter in method.networks.teacher.parameters())
    assert not any(losses[name].requires_grad for name in METRICS)


def test_the_weight_of_the_teachers_labels(root: Path, batch: list[Pair]) -> None:
    values = []
    for weight in (1.0, 2.0):
        method = make_method(root, settings(root, unlabelled_weight=weight))
        torch.manual_seed(1)
        values.append(method.losses(batch, 0))
    for name in TAUGHT:
        torch.testing.assert_close(values[1][name], 2 * values[0][name])
    for name in SUPERVISED:
        assert torch.equal(values[1][name], values[0][name])


def test_without_pseudo_labels_all_queries_learn_that_there_is_nothing(root: Path, batch: list[Pair]) -> None:
    method = make_method(root, settings(root, pseudo_masks=NOTHING))
    losses = method.losses(batch, 0)
    assert float(losses["metric_pseudo_masks"]) == 0
    assert float(losses["metric_without_pseudo_masks"]) == 1
    for name in TAUGHT:
        assert torch.isfinite(losses[name])
        assert (float(losses[name].detach()) > 0) is name.startswith("loss_ce")
    bias = method.networks.student.class_predictor.bias
    (slope,) = torch.autograd.grad(losses["loss_ce_unlabelled"], bias)
    assert slope[-1] < 0 < min(slope[:-1])  # descent raises the logit of no object


@pytest.fixture
def double_precision() -> Iterator[None]:
    """Random points are drawn in float64."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double_precision")
def test_gradients_of_the_losses_on_pseudo_labels() -> None:
    """Finite differences, at points that are the same in each call."""
    predictions, labels = drawn([2, 0, 3])
    logits = [part.detach().requires_grad_() for part in predictions[0]]
    some = PUBLISHED_LOSSES.model_copy(update={"points": 32})

    def total(*parts: Tensor) -> Tensor:
        torch.manual_seed(0)
        return torch.stack(
            list(unlabelled_losses([QueryPredictions(*parts)], labels, some, 2.0).values())
        ).sum()

    assert torch.autograd.gradcheck(total, logits, eps=1e-7, atol=1e-5, rtol=1e-4, fast_mode=True)


def test_a_guide_fills_the_teacher_and_the_student_starts_afresh(root: Path, tmp_path: Path) -> None:
    """The student's backbone is the start's, its heads are neither the guide's nor the same everywhere."""
    guided = settings(root)
    guide = make_method(root, guided, seed=5).networks.student
    save_weights(guide, tmp_path / "guide" / "model.safetensors")
    start = make_method(root, guided, seed=6).networks.student.backbone
    save_weights(start.network, tmp_path / "backbone.safetensors")
    labels, unlabelled = make_labels(tmp_path / "labels")
    torch.manual_seed(0)
    method, _ = build_training(
        guided,
        MODEL,
        make_store(tmp_path / "train"),
        labels,
        load_params(root / "presets" / "demo.yaml").predict,
        0,
        start=tmp_path / "backbone.safetensors",
        unlabelled=unlabelled,
        teacher=tmp_path / "guide",
    )
    assert isinstance(method, MeanTeacher)
    student, teacher = method.networks.student, method.networks.teacher
    assert equal(state(teacher), state(guide))
    assert equal(state(student.backbone), state(start))
    both = zip(student.named_parameters(), teacher.parameters(), strict=True)
    apart = {name for (name, own), other in both if not torch.equal(own, other)}
    heads = ("pixel_decoder.mask_projection", "query_decoder.queries_features", "class_predictor")
    assert {f"{name}.weight" for name in heads} <= apart


def test_a_mean_teacher_starts_as_a_copy(root: Path, tmp_path: Path) -> None:
    labels, unlabelled = make_labels(tmp_path / "labels")
    plain = settings(root, "mean_teacher")
    save_weights(
        make_method(root, plain).networks.student.backbone.network, tmp_path / "backbone.safetensors"
    )
    method, pairs = build_training(
        plain,
        MODEL,
        make_store(tmp_path / "train"),
        labels,
        load_params(root / "presets" / "demo.yaml").predict,
        0,
        start=tmp_path / "backbone.safetensors",
        unlabelled=unlabelled,
    )
    assert isinstance(method, MeanTeacher)
    assert equal(state(method.networks.student), state(method.networks.teacher))
    assert len(pairs) == 4


@pytest.mark.parametrize("kind", ["mean_teacher", "guided_distillation"])
def test_training_lowers_the_losses_on_masks(root: Path, tmp_path: Path, kind: str) -> None:
    taught = settings(root, kind, pseudo_masks=PUBLISHED, train={"steps": 20})
    method = make_method(root, taught)
    result = fit(
        method,
        make_pairs(tmp_path, taught),
        taught.train,
        seed=0,
        checkpoint=tmp_path / "checkpoint",
        key="k",
        name=kind,
    )
    first, last = ([row[name] for name in SUPERVISED] for row in (result.history[0], result.history[-1]))
    assert sum(last) < 0.95 * sum(first)
    assert not equal(state(method.networks.student), state(method.networks.teacher))


def test_a_loss_that_is_not_finite_names_both_kinds_of_images(root: Path, tmp_path: Path) -> None:
    """In the burn-in of a mean teacher, there are labelled ones alone."""
    for kind, expected in (
        ("guided_distillation", r"on images \d with unlabelled \d, \d with unlabelled \d;"),
        ("mean_teacher", r"on images \d, \d;"),
    ):
        taught = settings(root, kind)
        method = make_method(root, taught)
        with torch.no_grad():
            method.networks.student.class_predictor.bias.fill_(torch.nan)
        pairs = make_pairs(tmp_path / kind, taught, taught_from=method.taught_from)
        with pytest.raises(UserError, match=expected):
            fit(method, pairs, taught.train, seed=0, checkpoint=tmp_path / f"{kind}-c", key="k", name=kind)


def test_either_network_predicts(root: Path, batch: list[Pair]) -> None:
    method = make_method(root, settings(root))
    samples = [pair.labelled for pair in batch]
    boxes = [sample.target.boxes for sample in samples]
    for predictor in ("student", "teacher"):
        method.predictor = predictor  # type: ignore[assignment]
        network = copy.deepcopy(getattr(method.networks, predictor))
        alone = make_method(root, settings(root), seed=9)
        alone.networks.student = network
        found, masks = method.predict_with_boxes(samples, boxes)
        expected, expected_masks = alone.predict_with_boxes(samples, boxes)
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one.scores, other.scores)
            assert torch.equal(one.masks, other.masks)
        assert all(torch.equal(a, b) for a, b in zip(masks, expected_masks, strict=True))
        assert [part.scores.tolist() for part in method.predict(samples)] == [
            part.scores.tolist() for part in found
        ]
