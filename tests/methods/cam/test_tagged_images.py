"""Training samples of the classifier: what is drawn, and what their tags say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import params
from pipeline.data.images import ImageStore
from pipeline.errors import UserError
from pipeline.methods.cam.tagged_images import TaggedImages, resize_long_side
from pipeline.methods.cam.tags import check_images, indicator
from pipeline.methods.cam.windows import cut_square, place
from tests.methods.cam.tag_labels import MEAN, TagLabels, tag_labels, write_images

PLAIN = params.TagAugmentation(long_side=(32, 32), horizontal_flip=0.0, crop=32)


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return write_images(tmp_path / "train")


def images(store: ImageStore, labels: TagLabels, **changes: object) -> TaggedImages:
    return TaggedImages(store, labels, PLAIN.model_copy(update=changes), MEAN, seed=5)


def test_a_sample_is_the_image_with_a_place_for_each_class(store: ImageStore, tmp_path: Path) -> None:
    dataset = images(store, tag_labels(tmp_path))
    assert len(dataset) == 5
    assert [dataset[(index, 0)].tags.tolist() for index in range(5)] == [
        [1, 0],
        [0, 1],
        [1, 1],
        [0, 0],
        [0, 1],
    ]
    sample = dataset[(3, 0)]  # 32 x 32 as it is
    np.testing.assert_array_equal(sample.image.numpy().transpose(1, 2, 0), store.read(4))
    assert sample.image_id == 4


def test_a_key_decides_the_sample(store: ImageStore, tmp_path: Path) -> None:
    dataset = images(store, tag_labels(tmp_path), long_side=(24, 60), horizontal_flip=0.5)
    assert dataset[(0, 7)].image.equal(dataset[(0, 7)].image)
    assert len({dataset[(0, draw)].image.numpy().tobytes() for draw in range(8)}) == 8


def test_half_of_the_samples_are_mirrored(store: ImageStore, tmp_path: Path) -> None:
    dataset = images(store, tag_labels(tmp_path), horizontal_flip=0.5)
    plain = store.read(4).transpose(2, 0, 1)
    kinds = [np.array_equal(dataset[(3, draw)].image.numpy(), plain) for draw in range(40)]
    assert 8 < sum(kinds) < 32
    mirrored = dataset[(3, kinds.index(False))].image.numpy()
    np.testing.assert_array_equal(mirrored, plain[:, :, ::-1])


def test_what_the_crop_adds_is_the_mean(store: ImageStore, tmp_path: Path) -> None:
    image = images(store, tag_labels(tmp_path), crop=40)[(3, 0)].image.numpy()
    added = (image == np.round(MEAN).astype(np.uint8)[:, None, None]).all(axis=0)
    assert added.sum() == 40 * 40 - 32 * 32


@pytest.mark.parametrize(("shape", "size"), [((20, 10), (40, 20)), ((100, 80), (40, 32)), ((1, 90), (1, 40))])
def test_the_long_side_is_what_is_resized_to(shape: tuple[int, int], size: tuple[int, int]) -> None:
    assert resize_long_side(np.zeros((*shape, 3), dtype=np.uint8), 40).shape[:2] == size


def test_mistakes_are_one_line(store: ImageStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no image has a tag"):
        images(store, tag_labels(tmp_path, {1: (), 2: ()}))
    labels = tag_labels(tmp_path)
    labels.images[9] = replace(labels.images[1], id=9)
    with pytest.raises(
        UserError, match=r"image 9: has \(height, width\) \(24, 32\), and .*images.json lacks it"
    ):
        check_images(labels, store)
    del labels.images[9]
    labels.images[2] = replace(labels.images[2], width=25)
    with pytest.raises(UserError, match=r"image 2: .*\(32, 25\), and .*images.json has \(32, 24\)"):
        check_images(labels, store)


def test_indicator_has_no_place_for_the_background() -> None:
    assert indicator((1, 4), 5).tolist() == [1, 0, 0, 1]
    assert indicator((), 3).tolist() == [0, 0]


@given(length=st.integers(1, 30), side=st.integers(1, 30), share=st.floats(0, 1, exclude_max=True))
def test_windows_and_axes_lie_in_each_other(length: int, side: int, share: float) -> None:
    first, before = place(length, side, share)
    assert min(first, before) == 0
    assert first + min(side, length) <= length
    assert before + min(side, length) <= side


@given(height=st.integers(1, 9), width=st.integers(1, 9), side=st.integers(1, 9), seed=st.integers(0, 99))
def test_a_window_holds_as_much_of_the_array_as_fits(height: int, width: int, side: int, seed: int) -> None:
    array = np.arange(1, height * width + 1, dtype=np.uint8).reshape(height, width)
    window = cut_square(array, side, 0, np.random.default_rng(seed))
    assert window.shape == (side, side)
    rows, columns = window.any(axis=1), window.any(axis=0)
    part = window[rows][:, columns]
    assert part.shape == (min(side, height), min(side, width))
    top, left = divmod(int(part[0, 0]) - 1, width)
    np.testing.assert_array_equal(part, array[top : top + part.shape[0], left : left + part.shape[1]])


def test_all_places_of_a_window_come_up() -> None:
    array = np.arange(5, dtype=np.uint8)[None]
    draws = np.random.default_rng(0)
    assert {int(cut_square(array, 1, 0, draws)[0, 0]) for _ in range(100)} == {0, 1, 2, 3, 4}
