"""What the teacher sees, how its masks are scored, and the affinity of their pixels."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.methods.box_teacher.affinity import affine_pairs, mask_affinity
from pipeline.methods.box_teacher.confidence import mask_aware_confidence, pseudo_mask_weights
from pipeline.methods.box_teacher.pseudo_masks import PseudoMasks, on_grid, teacher_images
from pipeline.methods.detection.inference import enlarged, measured, original_boxes
from pipeline.params import TeacherView


@pytest.mark.parametrize("index", range(4))
def test_the_teachers_images_match_the_release(load, index):
    arrays = load("teacher_resize")
    largest, shortest = arrays[f"max_min_{index}"].tolist()
    view = TeacherView(short_side=shortest, max_side=largest)
    batch = teacher_images([arrays[f"in_{index}"]], view, 32)
    height, width = arrays[f"out_hw_{index}"].tolist()
    assert batch.sizes == [(height, width)]
    rows, columns = arrays[f"out_sub_{index}"].tolist()
    image = batch.images[0, :, :height:rows, :width:columns]
    torch.testing.assert_close(image, arrays[f"out_{index}"], rtol=0, atol=1e-5)
    assert batch.images.shape[2] % 32 == batch.images.shape[3] % 32 == 0
    assert not batch.images[0, :, height:].any()


@pytest.mark.parametrize("case", ["binary", "float", "none"])
def test_scores_and_weights_match_the_release(load, close, case):
    arrays = load("mask_aware_score", case)
    size, original = tuple(arrays["resized_hw"].tolist()), tuple(arrays["output_hw"].tolist())
    boxes, kept = original_boxes(arrays["boxes"], size, original)
    close(boxes[kept], arrays["out_boxes"].reshape(-1, 4))
    soft = float(arrays["threshold"]) < 0
    parts = enlarged(arrays["probabilities"][kept, 0], 4, size, original)
    masks, certainty = measured(parts, original, torch.device("cpu"), soft=soft)
    scores = arrays["scores"][kept]
    close(mask_aware_confidence(scores, certainty), arrays["out_scores"])
    close(pseudo_mask_weights(scores, certainty), arrays["out_mask_score"])
    if soft:
        close(masks, arrays["out_masks"])
    else:
        differ = (masks != arrays["out_masks"].bool()).sum()
        assert int(differ) <= 0.001 * masks.numel()
    if case == "binary":
        assert 0 in certainty.tolist(), "one instance has no pixel above the threshold"


@pytest.mark.parametrize("index", range(3))
def test_affinity_matches_the_release(load, close, index):
    arrays = load("mask_affinity")
    affinity = mask_affinity(
        arrays[f"masks_{index}"],
        arrays[f"image_mask_{index}"][None] > 0,
        int(arrays[f"kernel_{index}"]),
        int(arrays[f"dilation_{index}"]),
    )
    close(affinity, arrays[f"out_{index}"])


def test_no_masks_have_no_affinity():
    assert mask_affinity(torch.zeros(0, 6, 7), torch.ones(0, 6, 7).bool(), 3, 2).shape == (0, 8, 6, 7)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    size=st.sampled_from([3, 5]),
    dilation=st.integers(1, 3),
)
def test_affinity_is_a_symmetric_probability(seed, height, width, size, dilation):
    draw = torch.Generator().manual_seed(seed)
    masks = (torch.rand(2, height, width, generator=draw) < 0.5).float()
    everywhere = torch.ones(1, height, width, dtype=torch.bool)
    affinity = mask_affinity(masks, everywhere, size, dilation)
    assert ((affinity >= 0) & (affinity <= 1)).all()
    # What all pixels see at one offset is what all see at the opposite one.
    torch.testing.assert_close(affinity.sum(dim=(2, 3)), affinity.flip(1).sum(dim=(2, 3)))
    turned = mask_affinity(1 - masks, everywhere, size, dilation)
    inside = slice(1, -1)
    reach = size // 2 * dilation + 1
    if height > 2 * reach and width > 2 * reach:  # beyond the border there is no object: no symmetry there
        middle = (..., slice(reach, -reach), slice(reach, -reach))
        torch.testing.assert_close(affinity[:, inside][middle], turned[:, inside][middle])


def test_pairs_are_those_at_the_threshold_or_the_affinities():
    affinity = torch.tensor([0.4, 0.5, 0.6])
    assert affine_pairs(affinity, 0.5).tolist() == [False, True, True]
    assert affine_pairs(affinity, -1) is affinity


def test_masks_on_the_grid_are_samples_cut_to_their_boxes():
    masks = torch.zeros(2, 10, 12, dtype=torch.bool)
    masks[0, 2:9, 2:7] = True
    boxes = torch.ones(3, 4, 4, dtype=torch.bool)
    boxes[0, 0] = False
    labels = [PseudoMasks(masks[:2], torch.ones(2)), PseudoMasks(torch.ones(1, 16, 16), torch.ones(1))]
    grid = on_grid(labels, boxes, (16, 16), 4)
    assert grid[0].nonzero().tolist() == [
        [1, 0],
        [1, 1],
    ]  # rows 2 and 6, columns 2 and 6; the first is cut off
    assert not grid[1].any()
    assert grid[2].all()
