from __future__ import annotations

import torch

from pipeline.methods.spml.clustering import normalise
from pipeline.methods.spml.walk import random_walk, transitions


def two_views():
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(2, 3, 3, 4, generator=generator, dtype=torch.float64)
    return normalise(embeddings.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def test_steps_are_those_of_the_matrix_squared_six_times():
    matrix = transitions(two_views(), 5.0, 20)
    squared = matrix
    for _ in range(6):
        squared = squared @ squared
    scores = torch.rand(5, 12, dtype=torch.float64)
    torch.testing.assert_close(random_walk(scores, matrix, 6), scores @ squared)


def test_transitions_follow_their_formula():
    views = two_views()
    before = views.clone()
    flat = views.flatten(2)
    affinity = sum(torch.exp(3 * (view.T @ view - 1)) for view in flat) / 2
    found = transitions(views, 3.0, 7)
    torch.testing.assert_close(found.sum(dim=0), torch.ones(12).double())
    torch.testing.assert_close(found, affinity**7 / (affinity**7).sum(dim=0))
    sharp = torch.exp(100 * (flat[0].T @ flat[0] - 1))
    torch.testing.assert_close(transitions(views[:1], 5.0, 20), sharp / sharp.sum(dim=0))
    assert torch.equal(views, before)


def test_scores_that_are_equal_everywhere_stay():
    equal = torch.tensor([[0.25] * 12, [0.75] * 12], dtype=torch.float64)
    torch.testing.assert_close(random_walk(equal, transitions(two_views(), 5.0, 20), 6), equal)


def test_scores_stay_among_pixels_that_are_alike():
    alike = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]).view(1, 2, 2, 2)
    spread = random_walk(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), transitions(alike, 5.0, 20), 6)
    torch.testing.assert_close(spread, torch.tensor([[0.5, 0.5, 0.0, 0.0]]))
