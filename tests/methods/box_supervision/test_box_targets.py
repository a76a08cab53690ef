from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.methods.box_supervision.neighbours import neighbour_offsets
from pipeline.methods.box_supervision.targets import (
    box_centroids,
    box_masks,
    color_similarity,
    pooled_lab,
    similar_pairs,
    valid_masks,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize("index", range(5))
def test_similarity_matches_reference(load, close, index):
    arrays = load("color_similarity")
    similarity = color_similarity(
        arrays[f"lab_{index}"],
        arrays[f"mask_{index}"][None] > 0,
        int(arrays[f"kernel_{index}"]),
        int(arrays[f"dilation_{index}"]),
    )
    close(similarity, arrays[f"out_{index}"])


def test_targets_of_a_batch_match_reference(load, published):
    """Both images in one call: box masks, their full areas, and similarity with strip and padding."""
    arrays = load("box_supervision_targets")
    height, width = arrays["padded_hw"].tolist()
    images, sizes = torch.zeros(2, 3, height, width), []
    for index in range(2):
        image = arrays[f"image_bgr_{index}"].flip(0)
        sizes.append(tuple(image.shape[1:]))
        images[index, :, : image.shape[1], : image.shape[2]] = image
        boxes = arrays[f"boxes_{index}"]
        assert torch.equal(box_masks(boxes, (height, width), 4), arrays[f"gt_bitmasks_{index}"] > 0)
        areas = box_masks(boxes, (height, width), 1).sum((1, 2))
        assert torch.equal(areas, arrays[f"bitmask_pixel_sum_full_{index}"].long())
    valid = valid_masks(
        sizes,
        [int(arrays[f"original_hw_{index}"][0]) for index in range(2)],
        (height, width),
        4,
        published.bottom_pixels_removed,
        CPU,
    )
    similarity = color_similarity(
        pooled_lab(images, 4), valid, published.pairwise_size, published.pairwise_dilation
    )
    expected = torch.cat([arrays[f"color_similarity_{index}"] for index in range(2)])
    torch.testing.assert_close(similarity, expected, rtol=0, atol=1e-4)
    pairs = similar_pairs(similarity, published.color_threshold)
    assert (pairs != (expected >= 0.3)).float().mean() <= 1e-3


coordinate = st.floats(-20, 60, allow_nan=False, width=32)


@settings(max_examples=100, deadline=None)
@given(corners=st.tuples(*[coordinate] * 4), stride=st.sampled_from([1, 2, 4, 8]))
def test_box_mask_is_the_full_one_sampled(corners, stride):
    """Painted pixel by pixel into a full-size mask, as an annotation tool would."""
    (x1, x2), (y1, y2) = sorted(corners[::2]), sorted(corners[1::2])
    full = np.zeros((32, 48), dtype=bool)
    for row in range(max(int(y1), 0), min(int(np.float32(y2) + np.float32(1)), 32)):
        for column in range(max(int(x1), 0), min(int(np.float32(x2) + np.float32(1)), 48)):
            full[row, column] = True
    boxes = torch.tensor([[x1, y1, x2, y2]])
    mask = box_masks(boxes, (32, 48), stride)[0].numpy()
    np.testing.assert_array_equal(mask, full[stride // 2 :: stride, stride // 2 :: stride])
    if full.any():
        rows, columns = np.nonzero(full)
        np.testing.assert_allclose(box_centroids(boxes, (32, 48))[0], (columns.mean(), rows.mean()))


def test_centroid_of_a_box_on_the_border_depends_on_the_padding():
    """A box down to y = 32 paints row 32 where the padding has one: the reference's mask is padded too."""
    boxes = torch.tensor([[0.0, 0.0, 32.0, 32.0]])
    assert box_centroids(boxes, (32, 64)).tolist() == [[16.0, 15.5]]


def test_images_without_boxes():
    none = torch.zeros(0, 4)
    assert box_masks(none, (32, 64), 4).shape == (0, 8, 16)
    assert box_centroids(none, (32, 64)).shape == (0, 2)


def test_bottom_strip_is_in_pixels_of_the_original():
    """10 of 60 rows, on an image twice as large: 20 rows go; the other image only loses its padding."""
    valid = valid_masks([(120, 50), (128, 64)], [60, 10**6], (128, 64), 2, 10, CPU)
    assert valid[0].any(1).nonzero().max() == 49  # row 99 of the image
    assert valid[0].any(0).nonzero().max() == 24
    assert valid[1].all()


def test_no_strip_unless_asked():
    assert valid_masks([(96, 96)], [96], (96, 96), 2, 0, CPU).all()


def test_validity_is_the_neighbours_alone():
    lab, valid = torch.zeros(1, 3, 1, 2), torch.tensor([[[True, False]]])
    similarity = color_similarity(lab, valid, 3, 1)
    offsets = neighbour_offsets(3, 1)
    assert similarity[0, offsets.index((0, 1)), 0].tolist() == [0, 0]
    assert similarity[0, offsets.index((0, -1)), 0].tolist() == [0, 1]
    assert int((similarity > 0).sum()) == 1


def test_threshold_is_inclusive():
    assert similar_pairs(torch.tensor([0.3, 0.29999998]), 0.3).tolist() == [True, False]


def test_equal_colours_are_fully_similar_and_distance_decays():
    lab = torch.zeros(1, 3, 1, 3)
    lab[0, 0, 0, 2] = 2.0
    right = color_similarity(lab, torch.ones(1, 1, 3, dtype=torch.bool), 3, 1)[0, 4, 0]
    assert right.tolist() == pytest.approx([1.0, np.exp(-1), 0.0])


def test_colour_is_cut_down_to_8_bits_after_pooling():
    """A block of 10.75 on average counts as 10."""
    block = torch.tensor([[10.0, 11.0], [11.0, 11.0]]).expand(1, 3, 2, 2)
    assert torch.equal(pooled_lab(block, 2), pooled_lab(torch.full((1, 3, 2, 2), 10.0), 2))
