"""Every labelled image comes with an unlabelled one, in epochs of their own, in two views of one geometry."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.engine.sampler import StepSampler
from pipeline.errors import UserError
from pipeline.methods.mean_teacher.pairs import Pair, Pairs, Views
from tests.taught_settings import IMAGES, LABELLED, make_labels, make_pairs, make_store, settings

UNTOUCHED = {"jitter_probability": 0.0, "grey_probability": 0.0, "blur_probability": 0.0}


@pytest.fixture
def pairs(root: Path, tmp_path: Path) -> Pairs:
    return make_pairs(tmp_path, settings(root))


def views(pairs: Pairs, draw: int) -> Views:
    return unlabelled(pairs[draw % LABELLED, draw])


def unlabelled(pair: Pair) -> Views:
    assert pair.unlabelled is not None
    return pair.unlabelled


def assert_same_views(one: Pair, other: Pair) -> None:
    first, second = unlabelled(one), unlabelled(other)
    assert first.image_id == second.image_id
    assert torch.equal(first.weak, second.weak)
    assert torch.equal(first.strong, second.strong)


def undisturbed(root: Path, tmp_path: Path) -> Pairs:
    plain = settings(root)
    disturbance = plain.disturbance.model_copy(update=UNTOUCHED)
    return make_pairs(tmp_path, plain.model_copy(update={"disturbance": disturbance}))


def test_every_epoch_has_every_unlabelled_image_once(pairs: Pairs) -> None:
    drawn = [views(pairs, draw).image_id for draw in range(3 * IMAGES)]
    epochs = [drawn[start : start + IMAGES] for start in range(0, len(drawn), IMAGES)]
    assert all(sorted(epoch) == list(range(1, IMAGES + 1)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_draw_alone_decides_the_unlabelled_image(pairs: Pairs) -> None:
    """Whatever the labelled image is, and in whatever order the pairs are asked for."""
    expected = {draw: views(pairs, draw).image_id for draw in range(40)}
    for draw in np.random.default_rng(0).permutation(40).tolist():
        pair = pairs[draw * 3 % LABELLED, draw]
        assert unlabelled(pair).image_id == expected[draw]
        assert pair.image_id == pair.labelled.image_id == 1 + draw * 3 % LABELLED


def test_a_pair_is_a_pure_function_of_its_key_and_the_seed(root: Path, tmp_path: Path) -> None:
    made = [
        make_pairs(tmp_path / name, settings(root), seed) for name, seed in (("a", 5), ("b", 5), ("c", 6))
    ]
    one, same, other = ([pairs[draw % LABELLED, draw] for draw in range(20)] for pairs in made)
    for first, second in zip(one, same, strict=True):
        assert_same_views(first, second)
        assert torch.equal(first.labelled.image, second.labelled.image)
    assert [view.image_id for view in map(unlabelled, one)] != [
        view.image_id for view in map(unlabelled, other)
    ]


def test_the_views_differ_in_colors_alone(root: Path, tmp_path: Path, pairs: Pairs) -> None:
    still = undisturbed(root, tmp_path / "still")
    changed = 0
    for draw in range(30):
        pair, plain = views(pairs, draw), views(still, draw)
        assert torch.equal(pair.weak, plain.weak)
        assert torch.equal(plain.strong, plain.weak)
        assert pair.strong.shape == pair.weak.shape
        assert pair.strong.dtype == pair.weak.dtype == torch.uint8
        changed += not torch.equal(pair.strong, pair.weak)
    assert 20 < changed < 30  # 1 - 0.2 * 0.8 * 0.5 = 0.92


def test_the_weak_view_is_flipped_and_turned(root: Path, tmp_path: Path) -> None:
    """All eight orientations of one image come, in both views alike."""
    still = undisturbed(root, tmp_path)
    seen: Counter[bytes] = Counter()
    for draw in range(40 * IMAGES):
        pair = views(still, draw)
        if pair.image_id == 3:
            seen[pair.weak.numpy().tobytes()] += 1
    assert len(seen) == 8


def test_a_pair_says_nothing_of_the_unlabelled_image_but_its_pixels(pairs: Pairs) -> None:
    pair = pairs[0, 0]
    found = unlabelled(pair)
    assert set(vars(pair)) == {"labelled", "unlabelled"}
    assert set(vars(found)) == {"weak", "strong", "image_id"}
    assert type(found.weak) is type(found.strong) is Tensor
    moved = pair.to(torch.device("meta"))
    images = (moved.labelled.image, unlabelled(moved).weak, unlabelled(moved).strong)
    assert {image.device.type for image in images} == {"meta"}


@pytest.mark.parametrize("first", [0, 3, 5])
def test_no_view_is_made_for_steps_that_are_not_taught(root: Path, tmp_path: Path, first: int) -> None:
    """And from the first one on that is, they are those of a run that is taught from the start."""
    every = make_pairs(tmp_path / "every", settings(root))
    late = make_pairs(tmp_path / "late", settings(root), taught_from=first)
    read = []
    cache = late.labelled.cache.read
    late.labelled.cache.read = lambda image_id: read.append(image_id) or cache(image_id)  # type: ignore
    keys = StepSampler(len(every), settings(root).train.batch_size, 0, 0, 8, repeats=np.full(LABELLED, 1.5))
    for step, batch in enumerate(keys):
        for key in batch:
            read.clear()
            expected, found = every[key], late[key]
            assert torch.equal(found.labelled.image, expected.labelled.image)
            if step < first:
                assert found.unlabelled is found.to(torch.device("cpu")).unlabelled is None
                assert read == [found.image_id]
            else:
                assert_same_views(found, expected)


def test_the_engine_sees_the_labelled_images(pairs: Pairs) -> None:
    assert len(pairs) == LABELLED
    assert [classes.tolist() for classes in pairs.classes] == [[1], [0], [1], [0]]
    assert pairs.announcement == "masks of 4 images, and 9 images without labels"


@pytest.mark.parametrize(
    ("unlabelled", "expected"),
    [(range(0), "no image without labels"), (range(8, 12), "image 10: is not in")],
)
def test_a_list_that_does_not_fit_is_a_users_mistake(
    root: Path, tmp_path: Path, unlabelled: range, expected: str
) -> None:
    labels, path = make_labels(tmp_path / "labels", unlabelled)
    with pytest.raises(UserError, match=expected):
        Pairs(make_store(tmp_path / "train"), labels, path, settings(root), 0)
