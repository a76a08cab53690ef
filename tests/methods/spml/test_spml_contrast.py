from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.methods.spml import portions
from pipeline.methods.spml.clustering import normalise
from pipeline.methods.spml.contrast import contrast, pixel_losses

SINGLE = ("plain", "unique_classes", "one_prototype", "all_same_class")
FIELDS = (
    "embeddings",
    "labels",
    "own",
    "prototypes",
    "prototype_labels",
    "concentration",
    "loss",
    "per_pixel",
    "grad_embeddings",
    "grad_prototypes",
)


def case_of(arrays, case):
    return {field: arrays[f"{case}_{field}"] for field in FIELDS}


def related(case):
    """(row of each pixel, relation): by class, or by sets that meet."""
    labels, of_prototypes = case["labels"], case["prototype_labels"]
    if labels.ndim == 1:
        return labels, torch.arange(int(of_prototypes.max()) + 1)[:, None] == of_prototypes
    return torch.arange(len(labels)), labels.float() @ of_prototypes.float().T > 0


def check_case(case, compute):
    pixels = case["embeddings"].clone().requires_grad_()
    prototypes = case["prototypes"].clone().requires_grad_()
    loss, per_pixel = compute(pixels, prototypes)
    torch.testing.assert_close(loss, case["loss"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(per_pixel, case["per_pixel"], rtol=1e-4, atol=1e-5)
    slopes = torch.autograd.grad(loss, (pixels, prototypes))
    torch.testing.assert_close(slopes[0], case["grad_embeddings"], rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(slopes[1], case["grad_prototypes"], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("entries", [50, 10**6])
@pytest.mark.parametrize(
    ("file", "name"),
    [("loss_single", name) for name in SINGLE] + [("loss_set", "set"), ("loss_set", "set_disjoint")],
)
def test_losses_match_the_release(load, file, name, entries, monkeypatch):
    """In portions of a few pixels, too."""
    monkeypatch.setattr(portions, "CPU_ENTRIES", entries)
    case = case_of(load(file), name)
    rows, relation = related(case)
    concentration, weights = float(case["concentration"]), torch.full((len(rows),), 1 / len(rows))

    def compute(pixels, prototypes):
        rest = (case["own"], rows, relation, concentration)
        per_pixel = pixel_losses(
            pixels.detach(), prototypes.detach(), case["own"], rows, relation.float(), concentration, weights
        )[0]
        return contrast(pixels, prototypes, *rest, weights), per_pixel

    check_case(case, compute)


def test_a_pixel_s_own_segment_alone_matches_the_release(load):
    """The vector's numerator is always the own segment; others of its class are left out, pixel by pixel."""
    case = case_of(load("loss_single"), "own_only")
    count = len(case["labels"])

    def compute(pixels, prototypes):
        losses = []
        for index in range(count):
            own = int(case["own"][index])
            kept = case["prototype_labels"] != case["labels"][index]
            kept[own] = True
            place = kept[: own + 1].sum()[None] - 1
            relation = torch.zeros(1, int(kept.sum()), dtype=torch.bool)
            relation[0, place] = True
            row, weight = torch.zeros(1, dtype=torch.int64), torch.ones(1)
            losses.append(
                contrast(
                    pixels[index : index + 1],
                    prototypes[kept],
                    place,
                    row,
                    relation,
                    float(case["concentration"]),
                    weight,
                )
            )
        stacked = torch.stack(losses)
        return stacked.mean(), stacked.detach()

    check_case(case, compute)


def naive(pixel, prototypes, own, positive, concentration):
    """One pixel's loss as the definition has it, in plain Python floats."""
    exponentials = [math.exp(concentration * float(pixel @ each)) for each in prototypes]
    others = [index for index in range(len(prototypes)) if positive[index] and index != own]
    a = math.fsum(exponentials[index] for index in others) if others else exponentials[own]
    b = math.fsum(e for e, is_positive in zip(exponentials, positive, strict=True) if not is_positive)
    return math.log1p(b / a)


@st.composite
def problems(draw: st.DrawFn):
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    pixels, segments, rows = draw(st.integers(1, 6)), draw(st.integers(1, 6)), draw(st.integers(1, 3))
    real = {"generator": generator, "dtype": torch.float64}
    return (
        normalise(torch.randn(pixels, 3, **real)),
        normalise(torch.randn(segments, 3, **real)),
        torch.randint(0, segments, (pixels,), generator=generator),
        torch.randint(0, rows, (pixels,), generator=generator),
        torch.rand(rows, segments, generator=generator) < draw(st.sampled_from([0.0, 0.3, 0.7, 1.0])),
        draw(st.sampled_from([1.0, 6.0, 16.0])),
        torch.rand(pixels, **real),
    )


@settings(max_examples=60, deadline=None)
@given(problems())
def test_losses_are_as_defined(problem):
    pixels, prototypes, own, rows, relation, concentration, weights = problem
    expected = sum(
        float(weights[index])
        * naive(pixel, prototypes, int(own[index]), relation[rows[index]].tolist(), concentration)
        for index, pixel in enumerate(pixels)
    )
    assert float(contrast(*problem)) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(problems())
def test_gradients_are_those_of_the_losses(problem):
    pixels, prototypes, *rest = problem
    torch.autograd.gradcheck(
        lambda *learnt: contrast(*learnt, *rest), (pixels.requires_grad_(), prototypes.requires_grad_())
    )


def test_the_own_segment_is_masked_out_before_the_sum():
    """Beside the own segment's e^16 the other positive's e^-16 would vanish in float32."""
    pixels = torch.tensor([[1.0, 0.0]], requires_grad=True)
    prototypes = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    zero = torch.zeros(1, dtype=torch.int64)
    relation = torch.tensor([[True, True, False]])
    loss = contrast(pixels, prototypes, zero, zero, relation, 16.0, torch.ones(1))
    assert loss.item() == pytest.approx(math.log1p(math.exp(16)), rel=1e-6)
    slope = torch.autograd.grad(loss, pixels)[0]
    assert slope[0].tolist() == pytest.approx([16.0, 16.0], rel=1e-5)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_concentration_stays_within_float32(sign):
    """The positive and a hundred thousand negatives at opposite ends."""
    pixel = torch.tensor([[1.0, 0.0]], requires_grad=True)
    prototypes = torch.tensor([[0.0, 1.0], [sign, 0.0]] + [[-sign, 0.0]] * 100_000)
    zero = torch.zeros(1, dtype=torch.int64)
    relation = torch.zeros(1, len(prototypes), dtype=torch.bool)
    relation[0, :2] = True
    loss = contrast(pixel, prototypes, zero, zero, relation, 32.0, torch.ones(1))
    assert loss.item() == pytest.approx(math.log1p(100_000 * math.exp(-64.0 * sign)), rel=1e-5)
    assert torch.isfinite(torch.autograd.grad(loss, pixel)[0]).all()


def test_half_precision_is_widened():
    pixels = normalise(torch.randn(4, 3)).bfloat16()
    zero = torch.zeros(4, dtype=torch.int64)
    relation = torch.tensor([[True, False]])
    with torch.autocast("cpu", torch.bfloat16):
        loss = contrast(pixels, pixels[:2], zero, zero, relation, 16.0, torch.ones(4))
    exact = contrast(pixels.double(), pixels[:2].double(), zero, zero, relation, 16.0, torch.ones(4))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)


def test_no_pixels_are_a_loss_of_zero_with_a_gradient():
    pixels, prototypes = torch.zeros(0, 3, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    none = torch.zeros(0, dtype=torch.int64)
    loss = contrast(pixels, prototypes, none, none, torch.zeros(0, 2, dtype=torch.bool), 6.0, torch.zeros(0))
    assert loss.item() == 0
    assert torch.autograd.grad(loss, prototypes)[0].tolist() == [[0.0] * 3] * 2
