"""Partial labels over an over-segmentation: votes, growing by colour, what stays without a label."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.data.label_codes import UNLABELLED, VOID
from pipeline.priors.region_growing import grow_labels


def columns(*colors: int) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Regions side by side, two pixels wide each, of these grey values."""
    ids = np.repeat(np.arange(1, len(colors) + 1, dtype=np.uint16), 2)
    grey = np.repeat(np.array(colors, dtype=np.uint8), 2)
    return np.tile(ids, (4, 1)), np.repeat(np.tile(grey, (4, 1))[:, :, None], 3, axis=2)


def marked(shape: tuple[int, ...], marks: dict[tuple[int, int], int]) -> NDArray[np.uint8]:
    labels = np.full(shape, UNLABELLED, dtype=np.uint8)
    for place, value in marks.items():
        labels[place] = value
    return labels


def test_a_region_takes_the_class_of_most_of_its_labelled_pixels() -> None:
    regions, pixels = columns(10, 200)
    labels = marked(regions.shape, {(0, 0): 1, (1, 0): 2, (2, 1): 2, (0, 3): 0, (1, 3): 3})
    grown = grow_labels(labels, regions, pixels, 4)
    assert (grown[:, :2] == 2).all()
    assert (grown[:, 2:] == 0).all(), "the lower one of two that are even"


def test_others_join_the_seed_that_the_smallest_steps_of_colour_lead_to() -> None:
    """Between the seeds at both ends, the one large step is the border."""
    regions, pixels = columns(10, 20, 30, 150, 160)
    labels = marked(regions.shape, {(0, 0): 1, (0, 9): 2})
    grown = grow_labels(labels, regions, pixels, 3)
    assert grown[0].tolist() == [1] * 6 + [2] * 4


def test_a_chain_of_small_steps_is_followed_however_long() -> None:
    """Near in colour to neither seed: the way there counts, not the distance."""
    regions, pixels = columns(0, 40, 80, 120, 160, 255)
    labels = marked(regions.shape, {(0, 0): 1, (0, 11): 2})
    assert grow_labels(labels, regions, pixels, 3)[0].tolist() == [1] * 10 + [2] * 2


def test_void_stays_and_gives_no_vote() -> None:
    regions, pixels = columns(10, 200)
    labels = marked(regions.shape, {(0, 0): 1})
    labels[1:, 2:] = VOID
    grown = grow_labels(labels, regions, pixels, 2)
    assert (grown[1:, 2:] == VOID).all()
    assert (grown[0] == 1).all()


def test_without_a_label_nothing_is_labelled() -> None:
    regions, pixels = columns(10, 200)
    assert (grow_labels(marked(regions.shape, {}), regions, pixels, 2) == UNLABELLED).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 12))
def test_every_region_has_one_class_that_was_given(seed: int, regions: int, marks: int) -> None:
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, regions, (9, 11)).astype(np.uint16)
    pixels = rng.integers(0, 256, (9, 11, 3)).astype(np.uint8)
    labels = np.full(ids.shape, UNLABELLED, dtype=np.uint8)
    labels.ravel()[rng.integers(0, labels.size, marks)] = rng.integers(0, 5, marks)
    grown = grow_labels(labels, ids, pixels, 5)
    given_classes = set(labels[labels != UNLABELLED].tolist())
    for region in np.unique(ids):
        found = np.unique(grown[ids == region])
        own = labels[(ids == region) & (labels != UNLABELLED)]
        assert len(found) == 1
        assert int(found[0]) in given_classes, "regions of random pixels are all connected by neighbours"
        if len(own):
            assert found[0] in np.bincount(own).argsort()[-len(np.unique(own)) :]
