"""Every labelled image comes with an unlabelled one, in epochs of their own, in two views of one geometry."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.errors import UserError
from pipeline.methods.mean_teacher.pairs import Pairs
from tests.taught_settings import IMAGES, LABELLED, make_labels, make_pairs, make_store, settings

UNTOUCHED = {"jitter_probability": 0.0, "grey_probability": 0.0, "blur_probability": 0.0}


@pytest.fixture
def pairs(root: Path, tmp_path: Path) -> Pairs:
    return make_pairs(tmp_path, settings(root))


def undisturbed(root: Path, tmp_path: Path) -> Pairs:
    plain = settings(root)
    disturbance = plain.disturbance.model_copy(update=UNTOUCHED)
    return make_pairs(tmp_path, plain.model_copy(update={"disturbance": disturbance}))


def test_every_epoch_has_every_unlabelled_image_once(pairs: Pairs) -> None:
    drawn = [pairs[draw % LABELLED, draw].unlabelled_id for draw in range(3 * IMAGES)]
    epochs = [drawn[start : start + IMAGES] for start in range(0, len(drawn), IMAGES)]
    assert all(sorted(epoch) == list(range(1, IMAGES + 1)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_draw_alone_decides_the_unlabelled_image(pairs: Pairs) -> None:
    """Whatever the labelled image is, and in whatever order the pairs are asked for."""
    expected = {draw: pairs[0, draw].unlabelled_id for draw in range(40)}
    for draw in np.random.default_rng(0).permutation(40).tolist():
        pair = pairs[draw % LABELLED, draw]
        assert pair.unlabelled_id == expected[draw]
        assert pair.image_id == pair.labelled.image_id == 1 + draw % LABELLED


def test_a_pair_is_a_pure_function_of_its_key_and_the_seed(root: Path, tmp_path: Path) -> None:
    made = [
        make_pairs(tmp_path / name, settings(root), seed) for name, seed in (("a", 5), ("b", 5), ("c", 6))
    ]
    one, same, other = ([pairs[draw % LABELLED, draw] for draw in range(20)] for pairs in made)
    for first, second in zip(one, same, strict=True):
        assert torch.equal(first.weak, second.weak)
        assert torch.equal(first.strong, second.strong)
        assert torch.equal(first.labelled.image, second.labelled.image)
    assert [pair.unlabelled_id for pair in one] != [pair.unlabelled_id for pair in other]


def test_the_views_differ_in_colors_alone(root: Path, tmp_path: Path, pairs: Pairs) -> None:
    still = undisturbed(root, tmp_path / "still")
    changed = 0
    for draw in range(30):
        pair, plain = pairs[0, draw], still[0, draw]
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
        pair = still[0, draw]
        if pair.unlabelled_id == 3:
            seen[pair.weak.numpy().tobytes()] += 1
    assert len(seen) == 8


def test_a_pair_says_nothing_of_the_unlabelled_image_but_its_pixels(pairs: Pairs) -> None:
    pair = pairs[0, 0]
    assert set(vars(pair)) == {"labelled", "weak", "strong", "unlabelled_id"}
    assert type(pair.weak) is type(pair.strong) is Tensor
    moved = pair.to(torch.device("meta"))
    assert {moved.weak.device.type, moved.strong.device.type, moved.labelled.image.device.type} == {"meta"}


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
