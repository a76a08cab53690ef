"""Every sample has two views of one geometry, which depend on seed, draw and index alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.data.dataset import LabelledImages
from pipeline.data.images import ImageStore
from pipeline.methods.box_teacher.views import TwoViews
from tests.box_teacher_settings import make_views, settings
from tests.taught_settings import IMAGES

UNTOUCHED = {"jitter_probability": 0.0, "grey_probability": 0.0, "blur_probability": 0.0}
ALWAYS = {"jitter": (0.4, 0.4, 0.4, 0.1), "jitter_probability": 1.0}


def made(root: Path, folder: Path, seed: int = 0, **disturbance: object) -> TwoViews:
    plain = settings(root)
    changed = plain.disturbance.model_copy(update=disturbance)
    return make_views(folder, plain.model_copy(update={"disturbance": changed}), seed)


def test_the_weak_view_is_the_labelled_sample(root: Path, tmp_path: Path) -> None:
    """As BoxInst sees it: the disturbance draws from a stream of its own."""
    views = made(root, tmp_path, **ALWAYS)
    store = ImageStore.open(tmp_path / "train")
    plain = LabelledImages(store, views.labelled.labels, views.labelled.augmentation, 0)
    assert len(views) == len(plain) == IMAGES
    for index in range(IMAGES):
        sample, weak = plain[index, 5 + index], views[index, 5 + index].weak
        assert torch.equal(sample.image, weak.image)
        assert torch.equal(sample.target.boxes, weak.target.boxes)
        assert weak.target.masks is None


def test_the_strong_view_has_the_same_geometry(root: Path, tmp_path: Path) -> None:
    views = made(root, tmp_path, **UNTOUCHED)
    for draw in range(6):
        pair = views[draw, draw]
        assert torch.equal(pair.strong, pair.weak.image.as_subclass(Tensor))
        assert type(pair.strong) is Tensor
        assert pair.image_id == pair.weak.image_id


def test_the_strong_view_alone_is_disturbed(root: Path, tmp_path: Path) -> None:
    views = made(root, tmp_path, **ALWAYS)
    pair = views[0, 0]
    assert pair.strong.shape == pair.weak.image.shape
    assert not torch.equal(pair.strong, pair.weak.image.as_subclass(Tensor))
    changes = {tuple((views[0, draw].strong.float().mean(dim=(1, 2))).tolist()) for draw in range(6)}
    assert len(changes) == 6


@pytest.mark.parametrize("other_seed", [False, True])
def test_a_view_depends_on_seed_draw_and_index_alone(root: Path, tmp_path: Path, other_seed: bool) -> None:
    first = made(root, tmp_path / "a", **ALWAYS)
    again = made(root, tmp_path / "b", seed=int(other_seed), **ALWAYS)
    expected = [first[index, 7].strong for index in range(IMAGES)]
    for index in np.random.default_rng(0).permutation(IMAGES).tolist():
        assert torch.equal(again[index, 7].strong, expected[index]) != other_seed


def test_what_the_sampler_asks_for(root: Path, tmp_path: Path) -> None:
    views = made(root, tmp_path)
    assert views.aspect_ratios.tolist() == [1.0] * IMAGES
    assert [classes.tolist() for classes in views.classes] == [[key % 2] for key in range(1, IMAGES + 1)]
