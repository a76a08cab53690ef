from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.methods.detection.dense import DenseOutputs, _flatten
from pipeline.methods.detection.inference import (
    best_cells,
    clip_masks,
    detect,
    enlarged,
    measured,
    original_boxes,
    rescale_boxes,
    thresholded,
)
from pipeline.methods.detection.targets import pyramid_locations
from pipeline.params import NmsThreshold

CPU = torch.device("cpu")
STRIDES = (8, 16, 32, 64, 128)


def reference_outputs(arrays):
    flat = {
        name: _flatten([arrays[f"{name}_{level}"] for level in range(5)])
        for name in ("logits", "reg", "ctrness", "top")
    }
    dense = DenseOutputs(flat["logits"], flat["reg"], flat["ctrness"].squeeze(2), flat["top"], torch.empty(0))
    shapes = [tuple(arrays[f"logits_{level}"].shape[2:]) for level in range(5)]
    return dense, pyramid_locations(shapes, STRIDES)


def suppressing_from(overlap: float) -> NmsThreshold:
    return NmsThreshold(condinst=overlap, mask_rcnn=0.5, detectron2=0.5)


def test_detections_match_reference(load, close, predict_settings):
    arrays = load("fcos_inference")
    dense, locations = reference_outputs(arrays)
    limits = predict_settings.model_copy(
        update={
            "pre_nms_topk": int(arrays["pre_nms_topk"]),
            "detections_per_image": int(arrays["post_nms_topk"]),
            "score_threshold": float(arrays["score_threshold"]),
            "nms_threshold": suppressing_from(float(arrays["nms_threshold"])),
        }
    )
    for image, found in enumerate(detect(dense, locations, limits)):
        order = arrays[f"scores_{image}"].argsort(descending=True, stable=True)
        close(found.scores, arrays[f"scores_{image}"][order], rtol=1e-5)
        close(found.boxes, arrays[f"boxes_{image}"][order])
        assert torch.equal(found.labels, arrays[f"classes_{image}"][order])
        assert torch.equal(locations.points[found.cells], arrays[f"locations_{image}"][order])
        assert torch.equal(locations.levels[found.cells], arrays[f"levels_{image}"][order])
        close(dense.controller[image, found.cells], arrays[f"top_feat_{image}"][order])


def test_the_best_of_each_level_go_on(load, predict_settings):
    dense, locations = reference_outputs(load("fcos_inference"))
    limits = predict_settings.model_copy(update={"pre_nms_topk": 2, "nms_threshold": suppressing_from(1.0)})
    for found in detect(dense, locations, limits):
        assert torch.bincount(locations.levels[found.cells]).max() <= 2
        assert len(found.scores) > 2


def test_high_threshold_finds_nothing(load, predict_settings):
    dense, locations = reference_outputs(load("fcos_inference"))
    for found in detect(dense, locations, predict_settings.model_copy(update={"score_threshold": 1.0})):
        assert found.boxes.shape == (0, 4)
        assert found.labels.shape == found.scores.shape == found.cells.shape == (0,)


@pytest.mark.parametrize("case", ["down", "up", "none"])
def test_postprocessing_matches_reference(load, close, case):
    arrays = load("mask_postprocess", case)
    size, original = tuple(arrays["resized_hw"].tolist()), tuple(arrays["output_hw"].tolist())
    boxes, kept = original_boxes(arrays["boxes"], size, original)
    close(boxes[kept], arrays["out_boxes"].reshape(-1, 4))
    masks = thresholded(enlarged(arrays["probabilities"][kept, 0], 4, size, original), original, CPU)
    expected = arrays["out_masks"].bool()
    assert masks.shape == expected.shape
    assert int((masks != expected).flatten(1).sum(dim=1).sum()) <= 0.001 * masks.numel()


def test_many_masks_are_enlarged_in_parts():
    probabilities = torch.rand(70, 3, 4, generator=torch.Generator().manual_seed(0))
    parts = list(enlarged(probabilities, 2, (5, 7), (9, 11)))
    single = [next(enlarged(part[None], 2, (5, 7), (9, 11))) for part in probabilities]
    assert [len(part) for part in parts] == [32, 32, 6]
    assert torch.equal(torch.cat(parts), torch.cat(single))


def test_certainty_is_the_mean_over_the_mask_or_over_all_pixels():
    parts = [torch.tensor([[[0.9, 0.7], [0.5, 0.1]]]), torch.tensor([[[0.2, 0.2], [0.2, 0.4]]])]
    masks, certainty = measured(parts, (2, 2), CPU, soft=False)
    assert masks.flatten(1).sum(dim=1).tolist() == [2, 0]
    assert certainty.tolist() == pytest.approx([0.8, 0.0], abs=1e-6)
    masks, certainty = measured(parts, (2, 2), CPU, soft=True)
    assert torch.equal(masks, torch.cat(parts))
    assert certainty.tolist() == pytest.approx([0.55, 0.25], abs=1e-6)
    masks, certainty = measured([], (2, 2), CPU, soft=True)
    assert (masks.shape, masks.dtype, certainty.shape) == ((0, 2, 2), torch.float32, (0,))


def test_best_cell_is_the_first_of_equals():
    predicted = torch.tensor([[0.0, 0, 4, 4], [10, 10, 20, 20], [10, 10, 20, 20], [11, 10, 20, 20]])
    assert best_cells(predicted, torch.tensor([[10.0, 10, 20, 20], [0, 0, 3, 3]])).tolist() == [1, 0]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.floats(0, 20)] * 4), min_size=1, max_size=4))
def test_clipping_keeps_exactly_the_pixels_that_touch_the_box(sides):
    boxes = torch.tensor([[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d in sides])
    clipped = clip_masks(torch.ones(len(boxes), 20, 20, dtype=torch.bool), boxes)
    for mask, (x1, y1, x2, y2) in zip(clipped, boxes.tolist(), strict=True):
        expected = np.zeros((20, 20), dtype=bool)
        if x2 > x1 and y2 > y1:
            expected[int(np.floor(y1)) : int(np.ceil(y2)), int(np.floor(x1)) : int(np.ceil(x2))] = True
            assert np.array_equal(mask.numpy(), expected)


def test_rescaling_is_per_axis():
    assert rescale_boxes(torch.tensor([[1.0, 2, 3, 4]]), (10, 20), (20, 10)).tolist() == [[0.5, 4, 1.5, 8]]
