from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.methods.mal import mean_field
from pipeline.methods.mal.log_odds import Bounds, odds_of
from pipeline.methods.mal.mean_field import log_odds, refine
from pipeline.methods.mal.settled import unsettled
from pipeline.methods.mal.stencil import Stencil, half_window, pair_kernel
from pipeline.params import MeanField

VECTORS = ["basic", "no_box", "edges", "fractional_box", "paper_zeta", "kernel5"]
SOFT_TOLERANCE = {1: 5e-4, 2: 5e-4, 5: 5e-3}  # by iteration; later ones are not asserted


def options(arrays):
    return MeanField(
        kernel=int(arrays["kernel_size"]),
        zeta=round(float(arrays["zeta"]), 6),
        iterations=int(arrays["num_iter"]),
        clamp=tuple(round(value, 6) for value in arrays["clamp"].tolist()),
    )


def probability(odds):
    return odds.double().mul(torch.log(torch.tensor(2.0))).sigmoid()


def scene(seed, size=(24, 30), batch=2, noise=0.1):
    """Smooth images with noise, in normalised units; smooth probabilities; boxes, some of them fractional."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.randn(batch, 4, 4, 5, generator=draw)
    smooth = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")
    images = smooth[:, :3] + noise * torch.randn(batch, 3, *size, generator=draw)
    boxes = torch.rand(batch, *size, generator=draw).mul(8).clamp(max=1)
    boxes[:, :3] = 0
    return images, smooth[:, 3].sigmoid(), boxes


@pytest.mark.parametrize("name", VECTORS)
def test_no_pixel_differs_from_the_reference(load, name):
    arrays = load(f"meanfield_{name}")
    refined = refine(arrays["image"], arrays["prob"], arrays.get("box"), options(arrays))
    assert refined.dtype == torch.bool
    assert torch.equal(refined, arrays["refined"] > 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", VECTORS)
def test_no_pixel_differs_on_a_gpu(load, name, fused, monkeypatch):
    if not fused:
        monkeypatch.setattr(mean_field, "find_spec", lambda module: None)
    arrays = load(f"meanfield_{name}")
    image, prob, box = (arrays[key].cuda() if key in arrays else None for key in ("image", "prob", "box"))
    refined = refine(image, prob, box, options(arrays))
    assert torch.equal(refined.cpu(), arrays["refined"] > 0)


@pytest.mark.parametrize("dense", [1, 100])
@pytest.mark.parametrize("name", VECTORS)
def test_messages_match_the_reference(load, name, dense, monkeypatch):
    monkeypatch.setattr(mean_field, "DENSE_ITERATIONS", dense)
    arrays = load(f"meanfield_{name}")
    for index, iterations in enumerate(arrays["iterations"].tolist()):
        if iterations in SOFT_TOLERANCE:
            some = options(arrays).model_copy(update={"iterations": iterations})
            soft = probability(log_odds(arrays["image"], arrays["prob"], arrays.get("box"), some))
            difference = (soft - arrays["soft"][:, index]).abs().max()
            assert float(difference) <= SOFT_TOLERANCE[iterations]


@pytest.mark.parametrize("name", VECTORS)
def test_kernel_matches_the_reference(load, name):
    arrays = load(f"meanfield_{name}")
    size = int(arrays["kernel_size"])
    half = pair_kernel(arrays["image"], size, float(arrays["zeta"]))
    center, (height, width) = size**2 // 2, arrays["image"].shape[2:]
    expected = arrays["kernel"]
    for k, (dy, dx) in enumerate(half_window(size)):
        torch.testing.assert_close(half[k], expected[:, center + 1 + k], rtol=0, atol=1e-4)
        shifted = torch.zeros_like(half[k])  # the same pairs seen from their other ends
        rows, columns = slice(0, height - dy), slice(max(0, -dx), width - max(0, dx))
        shifted[:, dy:, max(0, dx) : width - max(0, -dx)] = half[k][:, rows, columns]
        torch.testing.assert_close(shifted, expected[:, center - 1 - k], rtol=0, atol=1e-4)


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.3, 3.0])
@pytest.mark.parametrize(
    "changes", [{}, {"kernel": 5}, {"zeta": 0.5}, {"clamp": (0.2, 0.7)}, {"iterations": 9}]
)
def test_equals_the_definition(naive_mean_field, published, noise, changes):
    """With pixels left out as settled, solved at once and iterated together: what the noise decides."""
    some = published.model_copy(update=changes)
    for boxed in (True, False):
        images, probabilities, boxes = scene(seed=1, noise=noise)
        expected = naive_mean_field(images, probabilities, boxes if boxed else None, some)
        odds = log_odds(images, probabilities, boxes if boxed else None, some)
        torch.testing.assert_close(probability(odds), expected, rtol=0, atol=1e-3)
        assert torch.equal(odds > 0, expected > 0.5)


def test_large_windows_do_not_overflow(naive_mean_field, published):
    """Weights up to 169: products of the messages are far below what float32 holds."""
    images, probabilities, boxes = scene(seed=2, noise=0.0)
    some = published.model_copy(update={"kernel": 13, "zeta": 3.0, "iterations": 3})
    for dense in (0.0, 0.4):
        odds = log_odds(images, (probabilities + dense).clamp(max=1), boxes, some)
        expected = naive_mean_field(images, (probabilities + dense).clamp(max=1), boxes, some)
        torch.testing.assert_close(probability(odds), expected, rtol=0, atol=1e-3)


def test_even_odds_become_background(published):
    half = torch.full((1, 12, 12), 0.5)
    assert not refine(torch.zeros(1, 3, 12, 12), half, None, published).any()
    assert not refine(torch.randn(1, 3, 12, 12), half, torch.ones(1, 12, 12), published).any()


@pytest.mark.parametrize("iterations", [5, 20, 100])
def test_a_pixel_on_its_own_drifts_towards_the_background(published, iterations):
    """No neighbour has its colour; l <- l / (1 + 1e-6) keeps its odds above 1 for some iterations only."""
    image = torch.arange(9.0).view(1, 1, 3, 3).expand(1, 3, 3, 3)
    start = 0.5 + 2e-5
    some = published.model_copy(update={"iterations": iterations})
    refined = refine(image, torch.full((1, 3, 3), start), None, some)
    assert refined.all() == (start / (1 + 1e-6) ** iterations > 0.5)
    assert refined.any() == refined.all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1), (2, 3)])
@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_images_smaller_than_the_window(naive_mean_field, published, shape, kernel):
    images, probabilities, boxes = scene(seed=3, size=shape)
    some = published.model_copy(update={"kernel": kernel})
    expected = naive_mean_field(images, probabilities, boxes, some) > 0.5
    assert torch.equal(refine(images, probabilities, boxes, some), expected)


@pytest.mark.parametrize("linked", [1, 2**30])
@pytest.mark.parametrize("portion", [1, 24 * 30 * 2, 2**30])
def test_a_batch_is_its_images_one_by_one(published, portion, linked, monkeypatch):
    monkeypatch.setattr(mean_field, "CPU_PORTION", portion)
    monkeypatch.setattr(mean_field, "LINKED_PORTION", linked)
    images, probabilities, boxes = scene(seed=4, batch=5)
    singles = [
        refine(images[i : i + 1], probabilities[i : i + 1], boxes[i : i + 1], published) for i in range(5)
    ]
    assert torch.equal(refine(images, probabilities, boxes, published), torch.cat(singles))


def test_no_images(published):
    empty = torch.zeros(0, 8, 9)
    assert refine(torch.zeros(0, 3, 8, 9), empty, empty, published).shape == (0, 8, 9)


def test_inputs_stay_as_they_are_and_get_no_gradient(published):
    images, probabilities, boxes = scene(seed=5)
    copies = [part.clone() for part in (images, probabilities, boxes)]
    odds = log_odds(images, probabilities.requires_grad_(), boxes, published)
    assert not odds.requires_grad
    for part, copy in zip((images, probabilities, boxes), copies, strict=True):
        assert torch.equal(part, copy)


@given(seed=st.integers(0, 10**6), noise=st.sampled_from([0.0, 0.05, 0.2]), kernel=st.sampled_from([3, 5]))
@settings(max_examples=25, deadline=None)
def test_settled_pixels_stay_whatever_the_others_do(seed, noise, kernel):
    images, probabilities, boxes = scene(seed, noise=noise)
    some = MeanField(kernel=kernel, zeta=0.1, iterations=2, clamp=(0.1, 0.9))
    odds, unary = log_odds(images, probabilities, boxes, some).flatten(), boxes.log2().flatten()
    stencil = Stencil(pair_kernel(images, kernel, 0.1), kernel)
    bounds = Bounds(odds_of(0.1), odds_of(0.9))
    free = torch.zeros_like(odds, dtype=torch.bool)
    free[unsettled(odds, unary, stencil, bounds)] = True
    assert not free.all()
    for others in (*bounds, None):
        state = odds.clone()
        state[free] = torch.empty(int(free.sum())).uniform_(*bounds) if others is None else others
        mean_field._iterate(state, unary, stencil, bounds, 3)
        torch.testing.assert_close(state[~free], odds[~free], rtol=0, atol=1e-4)


def test_ends_when_nothing_changes_any_more(published, monkeypatch):
    """More iterations than could be waited for."""
    monkeypatch.setattr(mean_field, "DENSE_ITERATIONS", 1)
    images = torch.tensor([0.0, 0.1, 0.2, 0.3]).expand(1, 3, 4, 4)
    probabilities = torch.full((1, 4, 4), 0.45)
    probabilities[:, :2] = 0.6
    some = published.model_copy(update={"iterations": 10**9})
    assert not refine(images, probabilities, torch.full((1, 4, 4), 0.9), some).any()


def test_even_windows_are_refused():
    with pytest.raises(ValueError, match="odd size, not 4"):
        half_window(4)
