"""No constant and no rule of Guided Distillation can change unnoticed.

Each case rewrites one expression of the source, loads the changed modules beside the real ones and
expects a check to fail; the same checks, of which the vectors are a part, pass on the source as it is.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.models.mask2former.predictions import QueryPredictions
from pipeline.params import PseudoMasks
from tests.mask2former_batches import as_batch
from tests.mask2former_settings import PUBLISHED_LOSSES
from tests.mutations import load_modules

MODULES = {  # in the order of their imports
    "ema": "pipeline.engine.ema",
    "pseudo_masks": "pipeline.methods.mean_teacher.pseudo_masks",
    "losses": "pipeline.methods.mean_teacher.losses",
    "networks": "pipeline.methods.mean_teacher.networks",
    "method": "pipeline.methods.mean_teacher.method",
    "guided": "pipeline.methods.guided_distillation.method",
}
PUBLISHED = PseudoMasks(class_threshold=0.7, area_threshold=5.0, drop_empty=False)


# --- the checks: each raises AssertionError when the modules do not follow the specification -----------


def check_filter(code, load):
    """The vectors: exactly the same labels and masks, for two pairs of thresholds."""
    arrays = load("pseudo_label_filter")
    predictions = QueryPredictions(
        torch.from_numpy(arrays["pred_logits"]), torch.from_numpy(arrays["pred_masks"])
    )
    other = PseudoMasks(
        class_threshold=float(arrays["alt_thresh_class"]),
        area_threshold=float(arrays["alt_mask_size"]),
        drop_empty=False,
    )
    for name, settings in (("default", PUBLISHED), ("alt", other)):
        for image, found in enumerate(code.pseudo_masks.pseudo_masks(predictions, settings)):
            labels, packed = (arrays[f"{name}_{part}_{image}"] for part in ("labels", "masks"))
            assert found.labels.tolist() == labels.tolist()
            assert found.masks.dtype == torch.bool
            assert np.array_equal(found.masks.numpy(), np.unpackbits(packed, axis=-1)[..., :24])


def check_filter_borders(code, load):
    """What the vectors leave open: thresholds are exclusive, and empty masks can be left out."""
    chosen = torch.tensor([[[3.0, 0.0], [3.0, 0.0], [0.0, 3.0], [0.0, 0.0]]])
    masks = torch.full((1, 4, 2, 2), -1.0)
    masks[0, 0, 0, 0] = 1.0
    masks[0, 1, 0, 0] = 0.0  # a probability of one half is background
    sure, area = float(chosen[0, 0].softmax(0)[0]), float(masks[0, 1].sigmoid().sum())

    def kept(class_threshold: float, area_threshold: float, drop_empty: bool = False) -> int:
        settings = PseudoMasks(
            class_threshold=class_threshold, area_threshold=area_threshold, drop_empty=drop_empty
        )
        (found,) = code.pseudo_masks.pseudo_masks(QueryPredictions(chosen, masks), settings)
        assert len(found.labels) == len(found.masks)
        return len(found.labels)

    assert kept(0.0, 0.0) == 3  # of a tie the first column, the object, is taken
    assert kept(0.7, 0.0) == 2
    assert kept(sure, 0.0) == 0
    assert kept(0.7, area) == 1
    assert kept(0.7, 0.0, drop_empty=True) == 1


def check_teacher(code, load):
    """The vectors: nothing, a copy, then an average, of parameters and running statistics."""
    arrays = load("ema")

    def module(prefix: str) -> nn.Module:
        made = nn.ModuleDict({"l": nn.Linear(5, 4), "bn": nn.BatchNorm1d(4)})
        names = [name for name in arrays if name.startswith(prefix)]
        made.load_state_dict(
            {name.removeprefix(prefix): torch.from_numpy(np.array(arrays[name])) for name in names}
        )
        return made

    student, teacher = module("student0."), module("teacher0.")
    networks = code.networks.TaughtMask2Former(student, teacher)
    for step, delta in enumerate(arrays["deltas_weight"]):
        networks.update_teacher(step, int(arrays["burn_in"]), float(arrays["decay"]))
        for name, value in teacher.state_dict().items():
            expected = torch.from_numpy(np.array(arrays[f"teacher_after_update.{name}"][step]))
            torch.testing.assert_close(value, expected, rtol=0, atol=1e-6)
        with torch.no_grad():
            student.l.weight += torch.from_numpy(delta)
            student.bn.running_mean += 0.1
            student.bn.num_batches_tracked += 1
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    # A copy, to the bit, and then what the momentum says.
    networks.update_teacher(9, 9, 0.5)
    assert torch.equal(teacher.l.weight, student.l.weight)
    with torch.no_grad():
        student.l.weight += 1.0
    before = teacher.l.weight.clone()
    networks.update_teacher(10, 9, 0.25)
    torch.testing.assert_close(teacher.l.weight, before + 0.75)


def check_weight(code, load):
    """The vectors: every term of the student's branch is twice the usual one."""
    arrays = load("loss_weighting")
    tensors = {name: torch.from_numpy(value) for name, value in arrays.items() if value.dtype.kind != "U"}
    predictions, labels = as_batch(tensors)
    settings = PUBLISHED_LOSSES.model_copy(update={"points": int(arrays["num_points"])})
    torch.manual_seed(int(arrays["torch_seed"]))
    losses = code.losses.unlabelled_losses(predictions, labels, settings, 2.0)
    named = {name.replace("_unlabelled", "_ssl"): float(loss) for name, loss in losses.items()}
    expected = dict(zip(arrays["unsup_names"].tolist(), arrays["unsup_values"].tolist(), strict=True))
    assert named.keys() == expected.keys()
    for name, value in expected.items():
        assert named[name] == pytest.approx(value, rel=1e-5)
    counts = code.losses.label_counts(labels)
    assert float(counts["metric_pseudo_masks"]) == pytest.approx(5 / 3)
    assert float(counts["metric_without_pseudo_masks"]) == pytest.approx(1 / 3)


class Recorder(nn.Module):
    """A network that notes how it is called, and answers with a query that it is sure of."""

    padding_divisor = 4

    def __init__(self, name: str, log: list[tuple[object, ...]]) -> None:
        super().__init__()
        self.name, self.log = name, log
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, images, sizes):
        mixed = torch.is_autocast_enabled("cpu")
        self.log.append(
            (self.name, float(images.mean()), list(sizes), self.training, torch.is_grad_enabled(), mixed)
        )
        classes = torch.tensor([9.0, 0.0]).expand(len(images), 1, 2) * (1 + self.scale)
        masks = torch.full((len(images), 1, 4, 4), 2.0) * (1 + self.scale)
        return [QueryPredictions(classes, masks)]


def check_passes(code, load):
    """Which network sees which view, in which mode and precision."""
    log: list[tuple[object, ...]] = []
    networks = code.networks.TaughtMask2Former(Recorder("student", log), Recorder("teacher", log))
    networks.train()
    images, weak, strong = (torch.full((2, 3, 8, 8), value) for value in (1.0, 2.0, 3.0))
    with torch.autocast("cpu", torch.bfloat16):
        outputs = networks(images, [(8, 8), (8, 6)], weak, strong, [(7, 8), (8, 8)])
        alone = networks(images, [(8, 8), (8, 6)])
    labelled, unlabelled = [(8, 8), (8, 6)], [(7, 8), (8, 8)]
    assert sorted(log) == sorted(
        [
            ("student", 1.0, labelled, True, True, True),
            ("student", 3.0, unlabelled, True, True, True),
            ("student", 1.0, labelled, True, True, True),
            ("teacher", 2.0, unlabelled, False, False, False),
        ]
    )
    assert not outputs.taught.class_logits.requires_grad
    assert outputs.unlabelled[0].class_logits.requires_grad
    assert alone.unlabelled is alone.taught is None
    networks.eval()
    networks.train()
    assert networks.student.training
    assert not networks.teacher.training


def check_phases(code, load):
    """A mean teacher's burn-in is on labels alone, Guided Distillation's is taught from the first step."""
    settings = SimpleNamespace(burn_in=5)
    for kind, expected in ((code.method.MeanTeacher, 5), (code.guided.GuidedDistillation, 0)):
        method = object.__new__(kind)
        method.settings = settings
        assert method.taught_from == expected


CHECKS = {
    check.__name__.removeprefix("check_"): check
    for check in (
        check_filter,
        check_filter_borders,
        check_teacher,
        check_weight,
        check_passes,
        check_phases,
    )
}

# (check that must fail, module, expression, what it becomes)
MUTATIONS = [
    # filter
    ("filter", "pseudo_masks", "classes != no_object", "classes != 0"),
    ("filter", "pseudo_masks", "(classes != no_object) & ", ""),
    ("filter", "pseudo_masks", "confidences > settings.class_threshold", "confidences > 0.5"),
    ("filter", "pseudo_masks", " & (confidences > settings.class_threshold)", ""),
    ("filter", "pseudo_masks", "class_logits.softmax(dim=-1).max", "class_logits.sigmoid().max"),
    ("filter", "pseudo_masks", "class_logits.softmax(dim=-1).max", "class_logits[..., :-1].softmax(-1).max"),
    ("filter", "pseudo_masks", "probabilities.sum(dim=(2, 3))", "(probabilities > 0.5).sum(dim=(2, 3))"),
    ("filter", "pseudo_masks", "> settings.area_threshold", "> 6"),
    ("filter", "pseudo_masks", "> settings.area_threshold", "> 4.5"),
    ("filter", "pseudo_masks", "MASK_THRESHOLD = 0.5", "MASK_THRESHOLD = 0.45"),
    ("filter", "pseudo_masks", "MASK_THRESHOLD = 0.5", "MASK_THRESHOLD = 0.55"),
    ("filter", "pseudo_masks", "if settings.drop_empty:", "if True:"),
    ("filter_borders", "pseudo_masks", "confidences > settings", "confidences >= settings"),
    ("filter_borders", "pseudo_masks", "> settings.area_threshold", ">= settings.area_threshold"),
    ("filter_borders", "pseudo_masks", "probabilities > MASK", "probabilities >= MASK"),
    ("filter_borders", "pseudo_masks", "if settings.drop_empty:", "if False:"),
    # teacher
    ("teacher", "networks", "if step >= burn_in:", "if step > burn_in:"),
    ("teacher", "networks", "if step >= burn_in:", "if True:"),
    ("teacher", "networks", "momentum if step > burn_in else 0.0", "momentum"),
    ("teacher", "networks", "momentum if step > burn_in else 0.0", "0.0"),
    ("teacher", "networks", "momentum if step > burn_in else 0.0", "1 - momentum if step > burn_in else 0.0"),
    ("teacher", "networks", "buffers=True", "buffers=False"),
    ("teacher", "networks", "self.teacher, self.student, momentum", "self.student, self.teacher, momentum"),
    ("teacher", "ema", "buffer.dtype == torch.float32", "buffer.dtype != torch.float32"),
    ("teacher", "ema", "if buffer.dtype == torch.float32", ""),
    ("teacher", "ema", "teacher.requires_grad_(False)", "teacher"),
    # losses
    ("weight", "losses", "weight * loss for", "loss for"),
    ("weight", "losses", "{name}_unlabelled", "{name}"),
    ("weight", "losses", "counts == 0", "counts > 0"),
    ("weight", "losses", "counts.mean()", "counts.sum()"),
    # passes
    ("passes", "networks", "self.teacher(weak, unlabelled_sizes)", "self.teacher(strong, unlabelled_sizes)"),
    ("passes", "networks", "self.teacher(weak, unlabelled_sizes)", "self.student(weak, unlabelled_sizes)"),
    ("passes", "networks", "self.student(strong, unlabelled_sizes)", "self.student(weak, unlabelled_sizes)"),
    ("passes", "networks", "self.student(strong, unlabelled_sizes)", "self.student(strong, sizes)"),
    ("passes", "networks", "torch.no_grad(), ", ""),
    ("passes", "networks", ", torch.autocast(weak.device.type, enabled=False)", ""),
    ("passes", "networks", "        self.teacher.eval()\n", ""),
    # phases
    ("phases", "method", "return self.settings.burn_in", "return self.settings.burn_in + 1"),
    ("phases", "method", "return self.settings.burn_in", "return 0"),
    ("phases", "guided", "return 0", "return self.settings.burn_in"),
]


@pytest.mark.parametrize("check", CHECKS)
def test_source_as_it_is_passes(load, check):
    CHECKS[check](load_modules(MODULES), load)


@pytest.mark.parametrize(("check", "module", "old", "new"), MUTATIONS)
def test_change_is_noticed(load, check, module, old, new):
    code = load_modules(MODULES, module, old, new)
    with pytest.raises((AssertionError, RuntimeError)):
        CHECKS[check](code, load)
