from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.data.images import ImageStore
from pipeline.data.label_codes import UNLABELLED, VOID
from pipeline.data.packs import Pack, encode_map, write_pack
from pipeline.data.semantic_samples import (
    SemanticImages,
    augment_maps,
    blur_kernel,
    nearest_cells,
    swap,
)
from pipeline.errors import UserError
from tests import semantic_settings
from tests.semantic_settings import augmentation

STILL = {"scale_range": (1.0, 1.0), "horizontal_flip": 0.0}


class Draws:
    """A generator that gives the numbers it is told."""

    def __init__(self, shares: tuple[float, ...], scale: float = 1.0, sigma: float = 1.0) -> None:
        self.shares, self.values = shares, [scale, sigma]

    def random(self, count: int) -> np.ndarray:
        assert count == len(self.shares)
        return np.array(self.shares)

    def uniform(self, low: float, high: float) -> float:
        return self.values.pop(0)


def picture(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every pixel's label and region tell where it is, and so does its colour."""
    index = np.arange(height * width).reshape(height, width)
    pixels = np.stack([index % 251, index % 199, index % 97], axis=-1).astype(np.uint8)
    return pixels, (index % 251).astype(np.uint8), (index % 60_000).astype(np.uint16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    semantic_settings.write_scenes(folder)
    return folder


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 40), st.integers(8, 40), st.integers(0, 100))
def test_picture_labels_and_regions_move_together(height, width, seed):
    chosen = augmentation(scale_range=(1.0, 1.0), crop=(16, 16))
    pixels, labels, regions = picture(height, width)
    image, label, region = augment_maps(pixels, labels, regions, chosen, np.random.default_rng(seed))
    assert image.shape[:2] == label.shape == region.shape == (min(height, 16), min(width, 16))
    assert np.array_equal(image[..., 0], label)
    assert np.array_equal(region % 251, label)


def test_a_mirror_exchanges_the_classes_it_is_told():
    chosen = augmentation(swapped_classes=((2, 3), (4, 5)), crop=(16, 16), horizontal_flip=1.0)
    labels = np.array([[0, 2, 3, 4, 5, 6, UNLABELLED, VOID]], np.uint8)
    assert swap(labels, chosen).tolist() == [[0, 3, 2, 5, 4, 6, UNLABELLED, VOID]]
    pixels, regions = np.zeros((1, 8, 3), np.uint8), np.arange(8, dtype=np.uint16)[None]
    draws = Draws((0.5, 0, 0, 1, 1))
    _, mirrored, moved = augment_maps(pixels, labels, regions, chosen, draws)
    assert mirrored.tolist() == [[VOID, UNLABELLED, 6, 4, 5, 2, 3, 0]]
    assert moved.tolist() == [list(range(7, -1, -1))]
    _, kept, _ = augment_maps(
        pixels,
        labels,
        regions,
        augmentation(swapped_classes=((2, 3),), crop=(16, 16), **STILL),
        Draws((0.5, 0, 0, 1, 1)),
    )
    assert kept.tolist() == labels.tolist()


@pytest.mark.parametrize(("share", "first"), [(0.0, 0), (0.5, 4), (0.999999, 7)])
def test_the_last_place_of_a_crop_is_never_drawn(share, first):
    """As in the release: of 24 - 16 + 1 places the first eight."""
    pixels, labels, regions = picture(24, 16)
    chosen = augmentation(crop=(16, 16), **STILL)
    _, label, _ = augment_maps(pixels, labels, regions, chosen, Draws((1, share, share, 1, 1)))
    assert np.array_equal(label, labels[first : first + 16])


def test_scaled_sizes_are_truncated_and_labels_stay_labels():
    pixels, _, regions = picture(15, 17)
    labels = np.where(np.arange(17) < 9, 3, VOID).astype(np.uint8)[None].repeat(15, axis=0)
    chosen = augmentation(crop=(64, 64), scale_range=(0.5, 1.5))
    image, label, region = augment_maps(pixels, labels, regions, chosen, Draws((1, 0, 0, 1, 1), scale=1.3))
    assert image.shape[:2] == label.shape == (19, 22)
    assert set(np.unique(label)) == {3, VOID}
    assert set(np.unique(region)) <= set(np.unique(regions))


def test_grey_and_blur_follow_the_release():
    pixels, labels, regions = picture(16, 16)
    chosen = augmentation(crop=(16, 16), grey_probability=0.3, blur_probability=0.5, **STILL)
    grey, _, _ = augment_maps(pixels, labels, regions, chosen, Draws((1, 0, 0, 0.29, 0.5)))
    assert np.array_equal(grey[..., 0], grey[..., 1])
    expected = pixels[3, 4] @ np.array([0.3, 0.59, 0.11])
    assert grey[3, 4, 2] == round(expected)
    blurred, _, _ = augment_maps(pixels, labels, regions, chosen, Draws((1, 0, 0, 0.3, 0.49), sigma=2.0))
    window = pixels[5:10, 6:11].astype(float)
    expected = (window * blur_kernel(2.0)[..., None]).sum(axis=(0, 1))
    np.testing.assert_allclose(blurred[7, 8], expected, atol=0.51)


def test_blur_weights_have_no_factor_of_two():
    kernel = blur_kernel(2.0)
    assert kernel.shape == (5, 5)
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    assert kernel[2, 4] / kernel[2, 2] == pytest.approx(np.exp(-4 / 4), rel=1e-5)
    assert kernel[0, 0] / kernel[2, 2] == pytest.approx(np.exp(-8 / 4), rel=1e-5)


def test_padding_is_void_and_outside_the_size(folder):
    chosen = augmentation(crop=(64, 80), **STILL)
    sample = semantic_settings.images(folder, "full", settings=chosen)[0, 0]
    assert sample.size == (48, 64)
    assert (sample.labels[48:] == VOID).all()
    assert (sample.labels[:, 64:] == VOID).all()
    assert (sample.labels[:48, :64] < 3).all()
    assert not sample.image[:, 48:].any()
    assert sample.regions.dtype == torch.int32


def test_samples_carry_the_annotation_s_tags_whatever_the_crop(folder):
    chosen = augmentation(crop=(16, 16), **STILL)
    dataset = semantic_settings.images(folder, settings=chosen)
    for index in range(len(dataset)):
        sample = dataset[index, 3]
        assert sample.tags.tolist() == [False, sample.image_id % 2 == 1, sample.image_id % 2 == 0]
        assert sample.image.shape == (3, 16, 16)


def test_a_sample_depends_on_seed_draw_and_index_alone(folder):
    one, two = (semantic_settings.images(folder)[2, 5] for _ in range(2))
    assert torch.equal(one.image, two.image)
    assert torch.equal(one.labels, two.labels)
    others = semantic_settings.images(folder)[2, 6], semantic_settings.images(folder, seed=1)[2, 5]
    assert not any(torch.equal(one.image, other.image) for other in others)


def test_regions_are_zero_without_an_over_segmentation(folder):
    assert not semantic_settings.images(folder, with_regions=False)[0, 0].regions.any()


@pytest.mark.parametrize("case", ["image", "tags", "regions", "size", "none"])
def test_what_does_not_fit_is_refused(folder, tmp_path, case):
    labels, tags, regions = (
        Pack(folder / "full"),
        {index: [1] for index in range(1, 10)},
        Pack(folder / "regions"),
    )
    small = encode_map(np.zeros((4, 4), np.uint8))
    match case:
        case "image":
            write_pack(tmp_path, [(99, small)], {})
            labels, problem = Pack(tmp_path), "images.json"
        case "tags":
            tags, problem = {1: [1]}, "no tags"
        case "regions":
            write_pack(tmp_path, [(1, small)], {})
            regions, problem = Pack(tmp_path), "no map of regions"
        case "size":
            write_pack(tmp_path, [(1, small)], {})
            labels, problem = Pack(tmp_path), r"\[4, 4\].*\[48, 64\]"
        case _:
            write_pack(tmp_path, [], {})
            labels, problem = Pack(tmp_path), "nothing to train on"
    with pytest.raises(UserError, match=problem):
        SemanticImages(ImageStore.open(folder / "images"), labels, tags, regions, augmentation(), 3, 0)[0, 0]


def test_a_mirror_swaps_classes_of_the_dataset_alone(folder):
    assert len(semantic_settings.images(folder, settings=augmentation(swapped_classes=((1, 2),))))
    with pytest.raises(UserError, match="swapped_classes: names class 3, and the 3 classes end with 2"):
        semantic_settings.images(folder, settings=augmentation(swapped_classes=((1, 3),)))
    with pytest.raises(ValidationError, match="less than or equal to 253"):
        augmentation(swapped_classes=((1, 254),))


@pytest.mark.parametrize(
    "changes",
    [{"crop": (40, 48)}, {"scale_range": (1.5, 0.5)}, {"swapped_classes": ((1, 2), (2, 3))}],
)
def test_impossible_augmentations_are_refused(changes):
    with pytest.raises(ValidationError):
        augmentation(**changes)


def test_cells_take_the_pixel_of_pytorch_s_nearest():
    maps = torch.arange(2 * 30 * 22).view(2, 30, 22)
    for size in ((8, 5), (15, 11), (60, 22)):
        expected = torch.nn.functional.interpolate(maps[:, None].double(), size=size, mode="nearest")
        assert torch.equal(nearest_cells(maps, *size), expected[:, 0].long())
