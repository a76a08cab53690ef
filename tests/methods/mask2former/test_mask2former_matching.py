"""Mask2Former's matching: the reference's costs, pairs and points; one to one at the least cost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Tensor

from pipeline.methods.mask2former.matching import Matches, match, match_costs, pair_costs
from pipeline.methods.mask2former.points import draw_points, loss_points, sample
from pipeline.models.mask2former.predictions import QueryPredictions
from pipeline.params import QueryLosses
from tests.mask2former_batches import Batch, as_batch, drawn
from tests.mask2former_settings import PUBLISHED_LOSSES

Load = Callable[[str], dict[str, Tensor]]


def settings(**changes: float) -> QueryLosses:
    return QueryLosses.model_validate({**PUBLISHED_LOSSES.model_dump(), "points": 64, **changes})


def inputs(
    batch: Batch, points: Tensor
) -> tuple[list[QueryPredictions], list[Tensor], Tensor, Tensor, QueryLosses]:
    predictions, targets = batch
    masks = torch.cat([target.masks for target in targets]).float()
    return predictions, [target.labels for target in targets], masks, points, settings()


def uniform(layers: int, images: int) -> Tensor:
    return 2 * torch.rand(layers, images, 64, 2, generator=torch.Generator().manual_seed(0)) - 1


def matched(batch: Batch) -> tuple[Matches, Tensor]:
    """The pairs, and the costs they are of, at points of a seed."""
    points = uniform(len(batch[0]), len(batch[1]))
    return match(*inputs(batch, points)), match_costs(*inputs(batch, points))


def test_costs_and_pairs_of_the_reference(load: Load) -> None:
    arrays = load("mask2former/matcher")
    arrays |= {name: arrays[name][None] for name in ("pred_logits", "pred_masks")}
    points = 2 * torch.stack([arrays[f"points_{image}"] for image in range(3)])[None] - 1
    given = inputs(as_batch(arrays), points)
    costs, matches = match_costs(*given), match(*given)
    assert costs.shape == (1, 3, 15, 4)
    rows, columns, first = [], [], 0
    for image in range(3):
        expected = arrays[f"cost_{image}"]
        torch.testing.assert_close(costs[0, image, :, : expected.shape[1]], expected, rtol=0, atol=1e-5)
        rows.append(arrays[f"rows_{image}"] + 15 * image)
        columns.append(arrays[f"cols_{image}"] + first)
        first += expected.shape[1]
    assert torch.equal(matches.queries[0], torch.cat(rows))
    assert torch.equal(matches.objects[0], torch.cat(columns))
    assert matches.finite


def test_the_pair_costs_of_the_reference(load: Load) -> None:
    arrays = load("mask2former/point_losses")
    for name, labels in (("hard", arrays["labels"]), ("soft", arrays["labels_soft"])):
        cross_entropy, dice = pair_costs(arrays["logits"], labels[:3])
        torch.testing.assert_close(cross_entropy, arrays[f"pair_sigmoid_ce_{name}"], rtol=0, atol=1e-5)
        torch.testing.assert_close(dice, arrays[f"pair_dice_{name}"], rtol=0, atol=1e-5)


def test_points_are_drawn_as_the_reference_draws_them(load: Load) -> None:
    """Those of the matching, and through the draws after them those of the losses of all three layers."""
    arrays = load("mask2former/matcher")
    torch.manual_seed(int(arrays["torch_seed"]))
    points = draw_points(1, 3, 5, settings(points=200), torch.device("cpu")).matching
    for image in range(3):
        assert torch.equal(points[0, image], 2 * arrays[f"points_{image}"] - 1)

    arrays = load("mask2former/criterion")
    some = settings(points=128)
    torch.manual_seed(int(arrays["torch_seed"]))
    points, candidates, uniform = draw_points(3, 3, 8, some, torch.device("cpu"))
    predictions, labels, masks, _, _ = inputs(as_batch(arrays), points)
    matches = match(predictions, labels, masks, points, some)
    for layer, prediction in enumerate(predictions):
        logits = prediction.mask_logits.flatten(0, 1)[matches.queries[layer]]
        chosen = loss_points(logits, candidates[layer], uniform[layer], some)
        assert torch.equal(chosen, 2 * arrays["point_coords"][layer] - 1)


@examples(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.integers(1, 6), st.integers(0, 999))
def test_pairs_are_one_to_one_and_cost_least(counts: list[int], queries: int, seed: int) -> None:
    batch = drawn(counts, queries=queries, layers=2, seed=seed)
    matches, costs = matched(batch)
    firsts = torch.tensor([0, *counts]).cumsum(0)
    permute = torch.Generator().manual_seed(seed)
    for layer in range(2):
        rows, columns = matches.queries[layer], matches.objects[layer]
        for image, count in enumerate(counts):
            own = rows // queries == image
            row, column = rows[own] % queries, columns[own] - firsts[image]
            assert len(row) == min(count, queries)
            assert (row.diff() > 0).all()  # by query
            assert len(column.unique()) == len(column)
            assert ((column >= 0) & (column < count)).all()
            least = costs[layer, image][row, column].sum()
            for _ in range(10):
                others = torch.randperm(queries, generator=permute)[: len(row)]
                objects = torch.randperm(count, generator=permute)[: len(row)]
                assert least <= costs[layer, image][others, objects].sum() + 1e-5
        assert (rows.diff() > 0).all()  # by image, then by query


def test_layers_are_matched_each_by_itself_and_images_too() -> None:
    predictions, targets = drawn([3, 5, 0, 8], layers=3)
    points = uniform(3, 4)
    together = match(*inputs((predictions, targets), points))
    for layer, prediction in enumerate(predictions):
        first = place = 0
        for image, target in enumerate(targets):
            alone = [QueryPredictions(*(values[image : image + 1] for values in prediction))]
            pairs = match(*inputs((alone, [target]), points[layer : layer + 1, image : image + 1]))
            part = slice(place, place + pairs.queries.shape[1])
            assert torch.equal(together.queries[layer, part], pairs.queries[0] + 7 * image)
            assert torch.equal(together.objects[layer, part], pairs.objects[0] + first)
            first, place = first + len(target.labels), part.stop


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_costs_that_are_not_finite_are_noticed(value: float) -> None:
    for layer, query in ((0, 2), (1, 6)):
        predictions, targets = drawn([0, 2])
        predictions[layer].mask_logits[1, query] = value
        assert not matched((predictions, targets))[0].finite
        predictions[layer].mask_logits[1, query] = 0
        predictions[layer].mask_logits[0, query] = value  # an image without objects has no costs
        assert matched((predictions, targets))[0].finite


def test_the_costs_go_to_the_cpu_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transfer waits for the GPU: one per step, whatever the number of layers and images."""
    transfers = []
    to_cpu = Tensor.cpu
    monkeypatch.setattr(Tensor, "cpu", lambda self: transfers.append(self.shape) or to_cpu(self))
    matched(drawn([3, 5, 0, 8], layers=3))
    assert len(transfers) == 1


# --- points -----------------------------------------------------------------------------------------------


def test_samples_are_bilinear_between_the_centres_of_cells() -> None:
    maps = torch.arange(12.0).view(1, 1, 3, 4)
    points = torch.tensor([[[0.5 / 4, 0.5 / 3], [1.5 / 4, 2.5 / 3], [2 / 4, 1.5 / 3], [1.0, 0.5]]])
    torch.testing.assert_close(sample(maps, 2 * points - 1), torch.tensor([[[0.0, 9, 5.5, 7 / 2]]]))


def test_the_uncertain_candidates_are_taken() -> None:
    some = settings(points=40, importance=0.75, oversample=3)
    _, candidates, uniform = (part[0] for part in draw_points(1, 1, 5, some, torch.device("cpu")))
    logits = torch.randn(5, 8, 8, generator=torch.Generator().manual_seed(0))
    chosen = loss_points(logits, candidates, uniform, some)
    assert chosen.shape == (5, 40, 2)
    assert torch.equal(chosen[:, 30:], uniform)
    values = sample(logits[:, None], candidates)[:, 0].abs()
    limit = values.sort(dim=1).values[:, 29:30]
    for row, (kept, others) in enumerate(zip(chosen[:, :30], candidates, strict=True)):
        assert {tuple(point) for point in kept.tolist()} == {
            tuple(point) for point in others[values[row] <= limit[row]].tolist()
        }
