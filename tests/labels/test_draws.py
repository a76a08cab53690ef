"""Orders of labelling: nested by construction, as published, and with every class in time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.labels.draws import dues, published_suffix, split_size, stratified_order, uniform_order

PUBLISHED = {"p0p4": 0.4, "p1p0": 1.0, "p2p0": 2.0, "p5p0": 5.0, "p10p0": 10.0, "p30p0": 30.0}

images_with_classes = st.lists(st.sets(st.integers(0, 7), max_size=4), min_size=1, max_size=60)
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    path = Path(__file__).parents[1] / "vectors" / "guided_distillation" / "coco_splits.npz"
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


@pytest.mark.parametrize(("key", "percent"), PUBLISHED.items())
def test_uniform_draws_are_the_published_ones(published: dict[str, Any], key: str, percent: float) -> None:
    ids = published["ids"]
    drawn = uniform_order(len(ids), int(published["numpy_seed"]))[: split_size(percent, len(ids))]
    assert len(drawn) == published[f"{key}_count"]
    assert ids[drawn[:20]].tolist() == published[f"{key}_first20"].tolist()
    assert published_suffix(percent) == published[f"{key}_file_suffix"]
    # image i has one annotation for each k < 6000 with k mod 1800 = i, the last 200 none
    annotations = sum(len(range(image, 6000, 1800)) for image in drawn.tolist() if image < 1800)
    assert annotations == published[f"{key}_annotations"]


@pytest.mark.parametrize(
    ("percent", "count"), [(0.4, 473), (1, 1182), (2, 2365), (5, 5914), (10, 11828), (30, 35486)]
)
def test_counts_of_coco(percent: float, count: int) -> None:
    assert split_size(percent, 118_287) == count


@pytest.mark.parametrize(("percent", "count"), [(0.57, 57), (0.1, 10), (33.33, 3333), (100.0, 10_000)])
def test_percentages_are_exact_in_decimal(percent: float, count: int) -> None:
    assert split_size(percent, 10_000) == count


@pytest.mark.parametrize(("percent", "suffix"), [(0.1, "1000"), (0.2, "500"), (0.5, "200"), (2.5, "2")])
def test_suffixes_beyond_the_vectors(percent: float, suffix: str) -> None:
    assert published_suffix(percent) == suffix


@given(images_with_classes, seeds)
def test_a_stratified_order_has_every_image_once(classes: list[set[int]], seed: int) -> None:
    assert sorted(stratified_order(classes, seed).tolist()) == list(range(len(classes)))


@given(images_with_classes, seeds)
def test_every_class_with_enough_images_is_in_every_head(classes: list[set[int]], seed: int) -> None:
    order = stratified_order(classes, seed).tolist()
    counts = {key: sum(key in image for image in classes) for key in set().union(*classes)}
    for size in range(1, len(order) + 1):
        present = set().union(*(classes[image] for image in order[:size]))
        for key, count in counts.items():
            more = sum(other > count for other in counts.values())
            alike = sum(other == count for other in counts.values())
            if count * size >= len(classes) and more + alike <= size:
                assert key in present, (size, key)


@given(images_with_classes, seeds)
def test_no_more_images_are_moved_than_there_are_classes(classes: list[set[int]], seed: int) -> None:
    waiting, moved = uniform_order(len(classes), seed).tolist(), 0
    for image in stratified_order(classes, seed).tolist():
        moved += image != waiting[0]
        waiting.remove(image)
    assert moved <= len(set().union(*classes))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), seeds)
def test_one_class_per_image_is_due_as_its_share_says(classes: list[int], seed: int) -> None:
    """Then the shares add up to one, and the number of classes never matters."""
    for key, due in dues([{key} for key in classes]).items():
        assert due == math.ceil(len(classes) / classes.count(key))


def test_a_rare_class_is_moved_ahead_of_its_place() -> None:
    classes = [{0}] * 95 + [{1}] * 5
    for seed in range(200):
        order = stratified_order(classes, seed).tolist()
        assert any(image >= 95 for image in order[:20])
    missed = [all(image < 95 for image in uniform_order(100, seed)[:20]) for seed in range(200)]
    assert any(missed), "a uniform draw misses it for some seeds, or this test says nothing"


def test_orders_depend_on_seed_and_content_alone() -> None:
    classes: list[set[int]] = [{image % 5} for image in range(50)]
    assert stratified_order(classes, 3).tolist() == stratified_order([sorted(c) for c in classes], 3).tolist()
    assert stratified_order(classes, 3).tolist() != stratified_order(classes, 4).tolist()


def test_images_without_objects_are_drawn_too() -> None:
    assert stratified_order([set()] * 30, 7).tolist() == uniform_order(30, 7).tolist()
