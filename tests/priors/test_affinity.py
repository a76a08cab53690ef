"""Affinities and the random walk: against naive dense ones, and on boundaries that a hand can draw."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from pipeline.priors.affinity import averaging_matrix, half_disc, others, random_walk, segment, segment_maxima


def naive_affinity(boundary: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """(h w, h w): 1 - the greatest boundary on the line that joins two places; 0 beyond the radius."""
    height, width = boundary.shape
    places = list(product(range(height), range(width)))
    affinity = np.eye(len(places))
    for (i, (y0, x0)), (j, (y1, x1)) in product(enumerate(places), repeat=2):
        dy, dx = y1 - y0, x1 - x0
        if not 0 < dy**2 + dx**2 < radius**2:
            continue
        on_line = [
            boundary[y, x]
            for y in range(min(y0, y1), max(y0, y1) + 1)
            for x in range(min(x0, x1), max(x0, x1) + 1)
            if abs(dy * (x - x0) - dx * (y - y0)) / np.hypot(dy, dx) < 1
        ]
        affinity[i, j] = 1 - max(on_line)
    return affinity


def naive_walk(
    scores: NDArray[np.float64], boundary: NDArray[np.float64], radius: float, power: float, squarings: int
) -> NDArray[np.float64]:
    """As the papers have it: columns add up to 1, the matrix is squared, and stands right of the scores."""
    matrix = naive_affinity(boundary, radius) ** power
    matrix = matrix / matrix.sum(axis=0)
    for _ in range(squarings):
        matrix = matrix @ matrix
    return (scores.reshape(len(scores), -1) @ matrix).reshape(scores.shape)


def random_boundaries(images: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((images, height, width)))


def test_half_disc_has_one_of_each_pair_of_opposites() -> None:
    assert set(half_disc(2)) == {(0, 1), (1, -1), (1, 0), (1, 1)}
    assert len(half_disc(5)) == 34  # the lattice points with 0 < d^2 < 25 are 68
    for radius in (1.5, 3, 5, 10):
        found = set(half_disc(radius))
        assert not found & {(-row, -column) for row, column in found}
        assert all(row**2 + column**2 < radius**2 for row, column in found)


def test_segments_by_hand() -> None:
    assert segment((0, 3)) == ((0, 0), (0, 1), (0, 2), (0, 3))
    assert set(segment((2, 2))) == {(0, 0), (1, 1), (2, 2), (0, 1), (1, 0), (1, 2), (2, 1)}
    # Distances to the line from (0, 0) to (1, 2): (0, 2) and (1, 0) are 2 / sqrt(5) = 0.89 away.
    assert set(segment((1, 2))) == {(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)}
    assert set(segment((2, -2))) == {(row, -column) for row, column in segment((2, 2))}


@given(
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    radius=st.sampled_from([1.5, 2.0, 3.0, 5.0]),
    seed=st.integers(0, 9),
)
def test_affinities_are_the_naive_ones(height: int, width: int, radius: float, seed: int) -> None:
    boundaries = random_boundaries(2, height, width, seed)
    maxima = segment_maxima(boundaries, radius)
    places = torch.arange(height * width).view(1, height, width)
    second = others(places, radius, -1)[0].numpy()
    first = np.broadcast_to(places.numpy(), second.shape)
    inside = second >= 0
    for image, boundary in enumerate(boundaries.numpy()):
        naive = naive_affinity(boundary, radius)
        np.testing.assert_allclose(1 - maxima[image].numpy()[inside], naive[first[inside], second[inside]])
        assert (maxima[image].numpy()[~inside] == 1).all(), "a wall outside the image"
        seen = np.eye(len(naive), dtype=bool)
        seen[first[inside], second[inside]] = seen[second[inside], first[inside]] = True
        assert not naive[~seen].any(), "each pair within the radius is there"


def test_a_segment_that_leaves_the_image_meets_a_wall() -> None:
    maxima = segment_maxima(torch.zeros(1, 3, 3), 2)
    offsets = half_disc(2)
    assert maxima[0, offsets.index((0, 1))].tolist() == [[0, 0, 1]] * 3
    assert maxima[0, offsets.index((1, -1))].tolist() == [[1, 0, 0], [1, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize("squarings", [0, 1, 4, 8])
def test_walk_is_that_of_the_squared_dense_matrix(squarings: int) -> None:
    boundaries = 0.5 * random_boundaries(2, 5, 4)
    scores = torch.from_numpy(np.random.default_rng(1).random((2, 3, 5, 4)))
    walked = random_walk(scores, boundaries, 3, 10, squarings)
    for image in range(2):
        expected = naive_walk(scores[image].numpy(), boundaries[image].numpy(), 3, 10, squarings)
        np.testing.assert_allclose(walked[image].numpy(), expected, rtol=1e-9)


def test_an_image_is_walked_as_if_alone() -> None:
    boundaries, scores = random_boundaries(3, 4, 6), torch.rand(3, 2, 4, 6, dtype=torch.float64)
    together = random_walk(scores, boundaries, 3, 2, 3)
    for image in range(3):
        alone = random_walk(scores[image : image + 1], boundaries[image : image + 1], 3, 2, 3)
        torch.testing.assert_close(together[image], alone[0])


def test_no_walk_crosses_a_wall() -> None:
    boundaries = torch.zeros(1, 9, 12, dtype=torch.float64)
    boundaries[:, :, 6] = 1
    scores = torch.zeros(1, 1, 9, 12, dtype=torch.float64)
    scores[0, 0, 4, 2] = 1
    walked = random_walk(scores, boundaries, 5, 10, 8)[0, 0]
    assert (walked[:, :6] > 0).all(), "the half with the score is filled"
    assert not walked[:, 6:].any(), "the other half and the wall itself get nothing"
    # What is left of the differences after 256 steps within the half is small.
    assert walked[:, :6].max() < 1.2 * walked[:, :6].mean()


def test_a_gap_in_the_wall_lets_the_walk_through() -> None:
    boundaries = torch.zeros(1, 9, 12, dtype=torch.float64)
    boundaries[:, :, 6] = 1
    boundaries[:, 3:6, 6] = 0
    scores = torch.zeros(1, 1, 9, 12, dtype=torch.float64)
    scores[0, 0, 4, 2] = 1
    assert (random_walk(scores, boundaries, 5, 10, 8)[0, 0, :, 7:] > 0).all()


@given(seed=st.integers(0, 99), power=st.sampled_from([1.0, 8.0]), value=st.floats(0, 1))
def test_a_step_gives_means(seed: int, power: float, value: float) -> None:
    boundaries = random_boundaries(1, 4, 5, seed)
    matrix = averaging_matrix(boundaries, 3, power).to_dense()
    torch.testing.assert_close(matrix.sum(1), torch.ones(20, dtype=torch.float64))
    constant = torch.full((1, 1, 4, 5), value, dtype=torch.float64)
    torch.testing.assert_close(random_walk(constant, boundaries, 3, power, 2), constant)


def test_gradients_of_the_maxima() -> None:
    boundaries = random_boundaries(1, 4, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda values: segment_maxima(values, 3), boundaries)
