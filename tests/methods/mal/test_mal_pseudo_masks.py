from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.data.masks import Rle, areas, decode, encode
from pipeline.methods.mal import pseudo_masks as made
from pipeline.methods.mal.crops import PlacedCrop, placed_crop
from pipeline.methods.mal.rois import crop_mask, expand_test
from tests.mal_vectors import arrays


def published_crops(published: dict[str, Any]) -> list[PlacedCrop]:
    """The crops of a vector file; the images, of which nothing is stored, are zero."""
    size = (int(published["height"]), int(published["width"]))
    pixels = np.zeros((*size, 3), dtype=np.uint8)
    return [
        placed_crop(pixels, box, published["boxmask"].shape[-1], 0.6, 0, int(key))
        for box, key in zip(published["box"], published["coco_id"], strict=True)
    ]


def pseudo_masks(logits: Tensor, crops: list[PlacedCrop], thresholds: made.Thresholds) -> list[Rle]:
    """What labelling does with logits where nothing refines them."""
    probabilities = made.crop_probabilities(logits, torch.stack([crop.box for crop in crops])).numpy()
    return [
        made.paste(probability, crop.region, crop.size, made.threshold_of(crop.area, thresholds))
        for probability, crop in zip(probabilities, crops, strict=True)
    ]


def stored(published: dict[str, Any], name: str) -> made.Network:
    """A network whose output is in the file; it tells the mirrored crops by their left edge."""

    def network(images: Tensor, areas: Tensor) -> Tensor:
        suffix = "_flipped_input" if images[0, 0, 0, 0] else ""
        return torch.from_numpy(published[f"{name}_logits{suffix}"])[:, 0]

    return network


@pytest.mark.parametrize(
    ("name", "which", "flip"),
    [("pseudo_labels_default", "student", False), ("pseudo_labels_flip_mixed", "mean", True)],
)
def test_pseudo_masks_match_the_release(name: str, which: str, flip: bool) -> None:
    published = arrays(name)
    crops = published_crops(published)
    for crop, region, box in zip(crops, published["ext_box"], published["boxmask"], strict=True):
        assert crop.region == tuple(region.tolist())
        np.testing.assert_array_equal(crop.box.numpy(), box[0])
    images = torch.zeros(len(crops), 3, 64, 64)
    images[..., -1] = 1
    networks = made.choose(stored(published, "student"), stored(published, "teacher"), which)
    logits = made.mean_logits(networks, images, torch.tensor([crop.area for crop in crops]), flip=flip)
    thresholds = tuple(published["threshold"].astype(float).tolist())
    rles = pseudo_masks(logits, crops, thresholds)
    masks = decode(rles, crops[0].size)
    np.testing.assert_array_equal(masks, published["mask"])  # the table allows 2 pixels per mask
    assert [rle["counts"] for rle in rles] == published["rle_counts"].tolist()
    np.testing.assert_allclose([crop.area for crop in crops], published["coco_area"], rtol=1e-6)


@pytest.mark.parametrize(
    ("which", "flip", "expected"),
    [
        ("student", False, 1.0),
        ("teacher", False, 4.0),
        ("mean", False, 2.5),
        ("student", True, 2.0),
        ("mean", True, 4.0),
    ],
)
def test_logits_are_averaged(which: str, flip: bool, expected: float) -> None:
    """The student gives 1 or 3, the teacher 4 or 8 for the mirrored image, on its left half alone."""

    def network(plain: float, mirrored: float) -> made.Network:
        def forward(images: Tensor, areas: Tensor) -> Tensor:
            logits = torch.zeros(1, 4, 4)
            turned = bool(images[0, 0, 0, 0])
            logits[..., slice(2, 4) if turned else slice(0, 2)] = mirrored if turned else plain
            return logits

        return forward

    images = torch.zeros(1, 3, 8, 8)
    images[..., -1] = 1
    networks = made.choose(network(1, 3), network(4, 8), which)
    logits = made.mean_logits(networks, images, torch.ones(1), flip=flip)
    assert torch.equal(logits[..., :2], torch.full((1, 4, 2), expected))
    assert not logits[..., 2:].any()


def test_half_precision_logits_are_averaged_in_single() -> None:
    def network(images: Tensor, areas: Tensor) -> Tensor:
        return torch.full((1, 4, 4), 0.1, dtype=torch.bfloat16)

    logits = made.mean_logits([network, network], torch.zeros(1, 3, 8, 8), torch.ones(1), flip=True)
    assert logits.dtype == torch.float32
    assert made.crop_probabilities(logits, torch.ones(1, 8, 8, dtype=torch.uint8)).dtype == torch.float32


def test_a_single_threshold_holds_for_all_sizes() -> None:
    assert [made.threshold_of(area, (0.3,)) for area in (1.0, 5000.0, 1e9)] == [0.3] * 3


def test_a_box_on_a_limit_has_the_smaller_size() -> None:
    limits = (1024.0, 1024.5, 9216.0, 9216.5, 2e10)
    assert [made.threshold_of(area, (0.1, 0.2, 0.3)) for area in limits] == [0.1, 0.2, 0.2, 0.3, 0.3]


def test_the_threshold_is_exclusive() -> None:
    probability = np.full((8, 8), 0.5, dtype=np.float32)
    size = (20, 20)
    assert areas([made.paste(probability, (2, 3, 10, 9), size, 0.5)]).tolist() == [0]
    assert areas([made.paste(probability, (2, 3, 10, 9), size, 0.49)]).tolist() == [48]


@st.composite
def boxes_in(draw: st.DrawFn, height: int, width: int) -> np.ndarray:
    """(4,) float32, more than two pixels wide and high, at most one pixel outside the image."""
    x, y = draw(st.floats(-1, width - 3, width=32)), draw(st.floats(-1, height - 3, width=32))
    right, bottom = (
        start + 2.5 + draw(st.floats(0, 1, width=32)) * (limit + 1 - start - 2.5)
        for start, limit in ((x, width), (y, height))
    )
    return np.array([x, y, right, bottom], dtype=np.float32)


def naive(logits: Tensor, box: np.ndarray, side: int, size: tuple[int, int], threshold: float) -> np.ndarray:
    """The specification step by step, on a canvas of the whole image, in float64."""
    left, top, right, bottom = expand_test(box[None], 0.6)[0].tolist()
    mask = torch.from_numpy(crop_mask(box, (left, top, right, bottom), size, side, wrap=False))

    def resized(values: Tensor, to: tuple[int, int]) -> Tensor:
        return F.interpolate(values[None, None], to, mode="bilinear", align_corners=False)[0, 0]

    inside = resized(resized(logits.double(), (side, side)).sigmoid() * mask, (bottom - top, right - left))
    canvas = np.zeros(size)
    for y in range(max(top, 0), min(bottom, size[0])):
        for x in range(max(left, 0), min(right, size[1])):
            canvas[y, x] = inside[y - top, x - left]
    return np.where(np.abs(canvas - threshold) < 1e-5, np.nan, canvas > threshold)


@given(boxes_in(30, 40), st.integers(0, 2**32 - 1), st.sampled_from([8, 24, 64]), st.sampled_from([0.1, 0.5]))
def test_a_mask_is_that_of_the_specification_and_lies_in_its_box(
    box: np.ndarray, seed: int, side: int, threshold: float
) -> None:
    size = (30, 40)
    logits = 3 * torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(seed))
    crop = placed_crop(np.zeros((*size, 3), dtype=np.uint8), box, side, 0.6, 1, 2)
    (rle,) = pseudo_masks(logits, [crop], (threshold,))
    found = decode([rle], size)[0]
    expected = naive(logits[0], box, side, size, threshold)
    sure = ~np.isnan(expected)  # within 1e-5 of the threshold, rounding decides
    np.testing.assert_array_equal(found[sure], expected[sure] > 0)
    # The box mask has two ends, and resizing spreads it by less than one pixel of the crop each time.
    left, top, right, bottom = crop.region
    spread = np.ceil(np.array([right - left, bottom - top]) / side) + 1
    rows, columns = np.nonzero(found)
    if len(rows):
        assert columns.min() >= np.trunc(box[0]) - spread[0]
        assert columns.max() <= np.trunc(box[2]) + spread[0]
        assert rows.min() >= np.trunc(box[1]) - spread[1]
        assert rows.max() <= np.trunc(box[3]) + spread[1]


def test_a_batch_is_its_crops_one_by_one() -> None:
    published = arrays("pseudo_labels_default")
    crops = published_crops(published)
    logits = torch.from_numpy(published["student_logits"])[:, 0]
    alone = [pseudo_masks(logits[i : i + 1], crops[i : i + 1], (0.1,))[0] for i in range(len(crops))]
    assert pseudo_masks(logits, crops, (0.1,)) == alone


def test_an_empty_mask_is_kept() -> None:
    crop = placed_crop(
        np.zeros((20, 30, 3), dtype=np.uint8), np.array([2, 2, 9, 9], dtype=np.float32), 16, 0.6, 1, 2
    )
    (rle,) = pseudo_masks(torch.full((1, 4, 4), -9.0), [crop], (0.1,))
    assert rle == encode(np.zeros((1, 20, 30), dtype=bool))[0]


@pytest.mark.parametrize("region", [(-30, 2, -5, 12), (40, 2, 55, 12), (2, -30, 12, -5), (2, 30, 12, 45)])
def test_a_region_outside_the_image_gives_an_empty_mask(region: tuple[int, int, int, int]) -> None:
    rle = made.paste(np.ones((8, 8), dtype=np.float32), region, (20, 30), 0.1)
    assert rle == encode(np.zeros((1, 20, 30), dtype=bool))[0]
