"""The pairwise loss: parity, agreement with the definition, and its behaviour at the edges."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.methods.box_supervision import pairwise
from pipeline.methods.box_supervision.losses import pairwise_loss
from pipeline.methods.box_supervision.neighbours import facing, neighbour_offsets


def scene(
    seed: int,
    count: int,
    images: int,
    size: int,
    shape: tuple[int, int],
    *,
    spread: float = 3.0,
    filled: float = 0.8,
    rectangles: bool = True,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random logits, masks, pairs and image indices; some masks are empty or cover the map."""
    draw = torch.Generator().manual_seed(seed)
    height, width = shape
    masks = torch.rand(count, height, width, generator=draw) < filled
    if rectangles:
        rows, columns = (
            torch.randint(0, length + 1, (count, 2), generator=draw).sort(1).values[:, :, None]
            for length in shape
        )
        inside_rows = (torch.arange(height) >= rows[:, 0]) & (torch.arange(height) < rows[:, 1])
        inside_columns = (torch.arange(width) >= columns[:, 0]) & (torch.arange(width) < columns[:, 1])
        masks = inside_rows[:, :, None] & inside_columns[:, None, :]
    pairs = torch.rand(images, size * size - 1, height, width, generator=draw) < 0.5
    logits = spread * torch.randn(count, height, width, generator=draw)
    return logits, masks, pairs, torch.randint(0, images, (count,), generator=draw)


def value_and_gradient(loss, logits):
    logits = logits.clone().requires_grad_()
    value = loss(logits)
    value.backward()
    return value.detach(), logits.grad


@pytest.mark.parametrize("index", range(4))
def test_neighbours_match_reference(load, index):
    arrays = load("unfold_wo_center")
    maps, expected = arrays[f"in_{index}"], arrays[f"out_{index}"]
    offsets = neighbour_offsets(int(arrays[f"kernel_{index}"]), int(arrays[f"dilation_{index}"]))
    gathered = torch.zeros_like(expected)
    for j, (dy, dx) in enumerate(offsets):
        (rows, far_rows), (columns, far_columns) = facing(maps.shape[2], dy), facing(maps.shape[3], dx)
        gathered[:, :, j, rows, columns] = maps[:, :, far_rows, far_columns]
    assert torch.equal(gathered, expected)


@pytest.mark.parametrize("index", range(4))
def test_loss_and_gradient_match_reference(load, close, index):
    arrays = load("pairwise_term")
    logits, weights = arrays[f"logits_{index}"][:, 0], arrays[f"weights_{index}"] > 0
    everywhere, images = torch.ones_like(logits, dtype=torch.bool), torch.arange(len(logits))
    value, gradient = value_and_gradient(
        lambda x: pairwise_loss(x, everywhere, weights, images, dilation=int(arrays[f"dilation_{index}"]))[0],
        logits,
    )
    close(value, arrays[f"loss_{index}"])
    close(gradient, arrays[f"grad_logits_{index}"][:, 0], rtol=1e-3, share=2e-5)


@pytest.mark.parametrize("index", range(4))
def test_single_pairs_match_reference(load, index):
    """The loss of one pair alone is the entry of the reference's map of pair terms."""
    arrays = load("pairwise_term")
    logits, terms = arrays[f"logits_{index}"][:, 0], arrays[f"out_{index}"]
    everywhere, images = torch.ones_like(logits, dtype=torch.bool), torch.arange(len(logits))
    draw = torch.Generator().manual_seed(index)
    for flat in torch.randint(0, terms.numel(), (40,), generator=draw).tolist():
        only = torch.zeros_like(terms, dtype=torch.bool)
        only.view(-1)[flat] = True
        value, share = pairwise_loss(
            logits, everywhere, only, images, dilation=int(arrays[f"dilation_{index}"])
        )
        assert float(value) == pytest.approx(float(terms.flatten()[flat]), rel=1e-4, abs=1e-6)
        assert float(share) == pytest.approx(1 / terms.numel())


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    count=st.integers(1, 5),
    images=st.integers(1, 3),
    size=st.sampled_from([3, 3, 5, 7]),
    dilation=st.integers(1, 4),
    height=st.integers(1, 14),
    width=st.integers(1, 14),
    rectangles=st.booleans(),
    portion=st.sampled_from([1, 60, 2**16]),
)
def test_equals_definition(
    naive_pairwise, seed, count, images, size, dilation, height, width, rectangles, portion
):
    logits, masks, pairs, sources = scene(seed, count, images, size, (height, width), rectangles=rectangles)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairwise, "CPU_PORTION", portion)
        value, gradient = value_and_gradient(
            lambda x: pairwise_loss(x, masks, pairs, sources, dilation=dilation)[0], logits
        )
    expected, expected_gradient = value_and_gradient(
        lambda x: naive_pairwise(x, masks, pairs, sources, dilation), logits
    )
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-6)


def test_gradient_by_finite_differences():
    logits, masks, pairs, images = scene(0, 3, 2, 3, (6, 7))
    assert torch.autograd.gradcheck(
        lambda x: pairwise_loss(x, masks, pairs, images, dilation=2)[0], logits.double().requires_grad_()
    )


def test_gradient_scales_with_the_outer_one():
    logits, masks, pairs, images = scene(1, 3, 2, 3, (9, 8))

    def loss(x: Tensor) -> Tensor:
        return pairwise_loss(x, masks, pairs, images, dilation=1)[0]

    _, once = value_and_gradient(loss, logits)
    _, thrice = value_and_gradient(lambda x: 3 * loss(x), logits)
    torch.testing.assert_close(thrice, 3 * once)


def test_by_hand():
    """A row of two pixels, both in the box: the pair counts from both ends, neighbours outside do not."""
    logits = torch.tensor([[[0.4, -1.0]]])
    pairs = torch.zeros(1, 8, 1, 2, dtype=torch.bool)
    offsets = neighbour_offsets(3, 1)
    pairs[0, offsets.index((0, 1)), 0, 0] = pairs[0, offsets.index((0, -1)), 0, 1] = True
    p, q = torch.sigmoid(logits).flatten().tolist()
    expected = -math.log(p * q + (1 - p) * (1 - q))
    for box, count in (([True, True], 2), ([True, False], 1), ([False, False], 0)):
        value, share = pairwise_loss(logits, torch.tensor([[box]]), pairs, torch.tensor([0]), dilation=1)
        assert float(value) == pytest.approx(expected if count else 0.0, rel=1e-6)
        assert math.isnan(share) if not any(box) else float(share) == pytest.approx(count / (8 * sum(box)))


def test_only_the_centre_has_to_lie_in_the_box():
    """A pair across the box's side counts once, from inside, and pulls on both of its pixels."""
    logits, masks = torch.tensor([[[2.0, -1.0]]]), torch.tensor([[[True, False]]])
    pairs = torch.ones(1, 8, 1, 2, dtype=torch.bool)
    pairs[0, neighbour_offsets(3, 1).index((0, -1))] = False  # seen from the right pixel
    value, gradient = value_and_gradient(
        lambda x: pairwise_loss(x, masks, pairs, torch.tensor([0]), dilation=1)[0], logits
    )
    s = torch.sigmoid(torch.tensor([2.0, -1.0, 1.0]))
    equal = float(s[0] * s[1] + (1 - s[0]) * (1 - s[1]))
    assert float(value) * 7 == pytest.approx(-math.log(equal), rel=1e-6)
    torch.testing.assert_close(gradient.flatten() * 7, s[:2] - s[2])


def test_confident_agreement_costs_nothing_and_keeps_its_last_digits():
    """-log(pq + (1-p)(1-q)) is about 2 exp(-x) for x = y: far below the rounding error of softplus(x)."""
    masks, pairs = torch.ones(1, 4, 4, dtype=torch.bool), torch.zeros(1, 8, 4, 4, dtype=torch.bool)
    pairs[0, :, 1:3, 1:3] = True
    value, _ = pairwise_loss(torch.full((1, 4, 4), 14.0), masks, pairs, torch.tensor([0]), dilation=1)
    assert float(value) == pytest.approx(2 * math.exp(-14), rel=1e-4)


@pytest.mark.parametrize("spread", [60.0, 1e4])
def test_finite_on_extreme_logits(naive_pairwise, spread):
    logits, masks, pairs, images = scene(2, 4, 2, 3, (11, 13), spread=spread)
    logits = logits.clamp(-1e4, 1e4)
    logits[0, 0], logits[0, 1] = 1e4, -1e4
    value, gradient = value_and_gradient(
        lambda x: pairwise_loss(x, masks, pairs, images, dilation=1)[0], logits
    )
    expected = naive_pairwise(logits.double(), masks, pairs, images, 1)
    assert float(value) == pytest.approx(float(expected), rel=1e-5)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() <= 1


def test_order_of_proposals_does_not_matter():
    logits, masks, pairs, images = scene(3, 6, 3, 3, (12, 10))
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    value, gradient = value_and_gradient(
        lambda x: pairwise_loss(x, masks, pairs, images, dilation=2)[0], logits
    )
    moved, moved_gradient = value_and_gradient(
        lambda x: pairwise_loss(x, masks[order], pairs, images[order], dilation=2)[0], logits[order]
    )
    torch.testing.assert_close(moved, value)
    torch.testing.assert_close(moved_gradient, gradient[order])


def test_batch_is_the_pair_weighted_mean_of_single_proposals():
    logits, masks, pairs, images = scene(4, 5, 2, 3, (10, 9))
    together, share = pairwise_loss(logits, masks, pairs, images, dilation=2)
    total = counted = possible = 0.0
    for i in range(5):
        one = slice(i, i + 1)
        value, part = pairwise_loss(logits[one], masks[one], pairs, images[one], dilation=2)
        area = 8 * int(masks[i].sum())
        count = round(float(part) * area)
        total, counted, possible = total + float(value) * count, counted + count, possible + area
    assert float(together) == pytest.approx(total / counted, rel=1e-5)
    assert float(share) == pytest.approx(counted / possible)


@pytest.mark.parametrize("count", [0, 3])
def test_nothing_to_compare_is_a_connected_zero(count):
    """No proposals, or boxes that miss every sample point."""
    source = torch.zeros(count, 1, 1, requires_grad=True)
    logits = source.expand(count, 5, 5)
    masks, pairs = torch.zeros(count, 5, 5, dtype=torch.bool), torch.ones(1, 8, 5, 5, dtype=torch.bool)
    value, share = pairwise_loss(logits, masks, pairs, torch.zeros(count, dtype=torch.int64), dilation=2)
    value.backward()
    assert value.item() == 0
    assert math.isnan(share)  # of no pairs at all
    assert torch.equal(source.grad, torch.zeros_like(source))


def test_half_precision_logits_are_compared_in_float32():
    logits, masks, pairs, images = scene(5, 3, 1, 3, (8, 8))
    logits = logits.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, gradient = value_and_gradient(
            lambda x: pairwise_loss(x, masks, pairs, images, dilation=1)[0], logits
        )
    assert value.dtype == torch.float32
    assert gradient.dtype == torch.bfloat16
    torch.testing.assert_close(value, pairwise_loss(logits.float(), masks, pairs, images, dilation=1)[0])


def test_even_window_is_refused():
    with pytest.raises(ValueError, match="odd"):
        neighbour_offsets(4, 1)
