"""From queries to instances: the paper's rule at full resolution, and masks for given boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.tv_tensors import Image

from pipeline.methods.mask2former.inference import detect, detect_and_fill
from pipeline.models.mask2former.network import Mask2Former
from pipeline.models.mask2former.predictions import QueryPredictions
from pipeline.structures import Instances, Sample, Target, boxes_xyxy, mask_boxes

Load = Callable[[str], dict[str, Tensor]]
Size = tuple[int, int]


class Given(nn.Module):
    """A network that predicts what it is given, whatever the images."""

    padding_divisor = 1

    def __init__(self, classes: Tensor, masks: Tensor) -> None:
        super().__init__()
        self.classes, self.masks = nn.Parameter(classes), masks

    def forward(self, images: Tensor, sizes: Sequence[Size]) -> list[QueryPredictions]:
        assert not self.training
        others = QueryPredictions(self.classes.flip(1), self.masks.flip(1))
        return [QueryPredictions(self.classes, self.masks), others]


def network(classes: Tensor, masks: Tensor, divisor: int = 1) -> Mask2Former:
    given = Given(classes, masks)
    given.padding_divisor = divisor
    return given  # type: ignore[return-value]


def sample(size: Size, original: Size | None = None) -> Sample:
    target = Target(boxes_xyxy(torch.zeros(0, 4), size), torch.zeros(0, dtype=torch.int64))
    return Sample(Image(torch.zeros(3, *size, dtype=torch.uint8)), target, 1, original or size)


def sure(labels: Sequence[int], classes: int = 3, sureness: Sequence[float] | None = None) -> Tensor:
    """Class logits (1, Q, K + 1) of queries that have no doubt, or as much sureness as is said."""
    logits = torch.zeros(1, len(labels), classes + 1)
    for query, label in enumerate(labels):
        logits[0, query, label] = 20.0 if sureness is None else sureness[query]
    return logits


def rectangles(size: Size, *boxes: tuple[int, int, int, int]) -> Tensor:
    """Mask logits (1, Q, h, w): 9 inside x1 y1 x2 y2, -9 outside."""
    logits = torch.full((1, len(boxes), *size), -9.0)
    for mask, (x1, y1, x2, y2) in zip(logits[0], boxes, strict=True):
        mask[y1:y2, x1:x2] = 9.0
    return logits


@pytest.mark.parametrize(("name", "limit"), [("instance_inference", 30), ("instance_inference_b", 100)])
def test_the_instances_of_the_reference(load: Load, name: str, limit: int) -> None:
    arrays = load(f"mask2former/{name}")
    classes, masks = arrays["mask_cls"][None], arrays["mask_pred"][None]
    size = (masks.shape[2], masks.shape[3])
    (found,) = detect(network(classes, masks), [sample(size)], limit)
    bits = np.unpackbits(arrays["masks_packed"].numpy(), axis=1)[:, : size[0] * size[1]]
    expected = torch.from_numpy(bits.astype(bool)).view(-1, *size)
    filled = expected.flatten(1).any(dim=1)  # a mask without pixels is no detection
    assert int(filled.sum()) < limit
    torch.testing.assert_close(found.scores, arrays["scores"][filled], rtol=0, atol=1e-5)
    ours = zip(found.labels.tolist(), found.masks.numpy(), strict=True)
    theirs = zip(arrays["classes"][filled].tolist(), expected[filled].numpy(), strict=True)
    pairs_of = [sorted((label, mask.tobytes()) for label, mask in pairs) for pairs in (ours, theirs)]
    assert pairs_of[0] == pairs_of[1]
    assert (found.scores.diff() <= 0).all()


def test_a_query_may_be_detected_as_several_classes_and_there_may_be_few() -> None:
    """Two queries and three classes are six pairs, fewer than a hundred."""
    classes = torch.tensor([[[2.0, 1, 0, 0], [0, 0, 3, 0]]])
    masks = rectangles((8, 8), (0, 0, 4, 4), (2, 2, 8, 8))
    (found,) = detect(network(classes, masks), [sample((8, 8))], 100)
    assert len(found) == 6
    assert found.labels.tolist()[:2] == [2, 0]
    inside = torch.sigmoid(torch.tensor(9.0))
    expected = classes.softmax(dim=-1)[0, :, :3].flatten().sort(descending=True).values * inside
    torch.testing.assert_close(found.scores, expected)
    (found,) = detect(network(classes, masks), [sample((8, 8))], 3)
    assert found.labels.tolist() == [2, 0, 1]
    assert found.boxes.tolist() == [[2, 2, 8, 8], [0, 0, 4, 4], [0, 0, 4, 4]]


def test_empty_masks_are_no_detections() -> None:
    masks = rectangles((8, 8), (0, 0, 0, 0), (2, 2, 5, 6))
    (found,) = detect(network(sure([0, 1]), masks), [sample((8, 8))], 2)
    assert found.labels.tolist() == [1]
    (found,) = detect(network(sure([0]), masks[:, :1]), [sample((8, 8))], 2)
    assert (len(found), found.masks.shape, found.boxes.shape) == (0, (0, 8, 8), (0, 4))


def test_padding_is_cut_off_and_the_rest_enlarged_to_the_original() -> None:
    """Logits at stride 4 of a batch of 64 x 96 pixels; the second image covers 40 x 60 of them."""
    masks = rectangles((16, 24), (2, 2, 9, 7), (12, 3, 24, 16)).expand(2, -1, -1, -1)
    samples = [sample((64, 96)), sample((40, 60), original=(120, 180))]
    first, second = detect(network(sure([0, 1]).expand(2, -1, -1), masks, 32), samples, 2)
    assert first.masks.shape == (2, 64, 96)
    assert second.masks.shape == (2, 120, 180)
    own = torch.tensor([[8.0, 8, 36, 28], [48, 12, 96, 64]])
    torch.testing.assert_close(first.boxes[first.labels.argsort()], own)
    cut = torch.minimum(own, torch.tensor([60.0, 40, 60, 40]))
    torch.testing.assert_close(second.boxes[second.labels.argsort()], 3 * cut, rtol=0, atol=1)


def test_a_mask_is_where_the_enlarged_logits_are_positive() -> None:
    """Not where enlarged probabilities exceed one half: a sure pixel reaches farther than a doubtful one."""
    masks = torch.tensor([[[[6.0, -2.0]]]])
    (found,) = detect(network(sure([0]), masks), [sample((1, 16))], 1)
    expected = torch.nn.functional.interpolate(masks, size=(1, 16), mode="bilinear")[0] > 0
    assert torch.equal(found.masks, expected)
    assert int(found.masks.sum()) == 10


def test_images_of_a_batch_do_not_depend_on_each_other() -> None:
    draw = torch.Generator().manual_seed(0)
    classes, masks = torch.randn(3, 40, 4, generator=draw), torch.randn(3, 40, 6, 8, generator=draw)
    samples = [sample((24, 32), original) for original in ((24, 32), (50, 60), (24, 32))]
    for index, together in enumerate(detect(network(classes, masks), samples, 50)):
        alone = network(classes[index : index + 1], masks[index : index + 1])
        (found,) = detect(alone, samples[index : index + 1], 50)
        for name, value in vars(together).items():
            assert torch.equal(value, vars(found)[name]), name


@examples(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 999))
def test_boxes_just_hold_their_masks(height: int, width: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    masks = torch.rand(4, height, width, generator=draw) > torch.rand(4, 1, 1, generator=draw)
    masks[0] = False
    boxes = mask_boxes(masks)
    assert boxes[0].tolist() == [0, 0, 0, 0]
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.long().tolist(), strict=True):
        if mask.any():
            cut = mask[y1:y2, x1:x2]
            assert cut.sum() == mask.sum()
            assert all(edge.any() for edge in (cut[0], cut[-1], cut[:, 0], cut[:, -1]))
    assert mask_boxes(masks[:0]).shape == (0, 4)


# --- masks for given boxes --------------------------------------------------------------------------------


def fill(
    classes: Tensor, masks: Tensor, boxes: Tensor, original: Size | None = None
) -> tuple[Instances, Tensor]:
    size = (masks.shape[2], masks.shape[3])
    found, filled = detect_and_fill(network(classes, masks), [sample(size, original)], [boxes], 10)
    return found[0], filled[0]


def test_a_box_gets_the_mask_of_the_query_whose_box_overlaps_it_best() -> None:
    masks = rectangles((20, 20), (0, 0, 10, 10), (4, 4, 14, 14), (12, 12, 20, 20))
    given_boxes = torch.tensor([[5.0, 5, 15, 14], [0, 0, 9, 11], [13, 11, 20, 20]])
    found, filled = fill(sure([3, 3, 0]), masks, given_boxes)  # two of them say "no object"
    assert mask_boxes(filled).tolist() == [[5, 5, 14, 14], [0, 0, 9, 10], [13, 12, 20, 20]]
    (expected,) = detect(network(sure([3, 3, 0]), masks), [sample((20, 20))], 10)
    assert torch.equal(found.masks, expected.masks)
    assert torch.equal(found.scores, expected.scores)


def test_of_equal_overlaps_the_likeliest_object_counts() -> None:
    """Whatever its class, and however sure it is that there is none."""
    masks = rectangles((20, 20), (2, 2, 8, 8), (2, 2, 8, 8), (2, 2, 8, 8))
    masks[0, 0, 4, 4] = masks[0, 1, 5, 5] = masks[0, 2, 6, 6] = -9.0
    box = torch.tensor([[2.0, 2, 8, 8]])
    for best, cell in enumerate(((4, 4), (5, 5), (6, 6))):
        sureness = [1.0, 1.0, 1.0]
        sureness[best] = 2.0
        _, (mask,) = fill(sure([0, 2, 1], sureness=sureness), masks, box)
        assert not mask[cell]
        assert int(mask.sum()) == 35
    _, (mask,) = fill(sure([3, 0, 3], sureness=[5.0, 0.5, 5.0]), masks, box)
    assert not mask[5, 5]
    _, (mask,) = fill(sure([0, 0, 0]), masks, box)
    assert not mask[4, 4]  # the first of equal ones


@pytest.mark.parametrize(
    ("size", "original", "wanted"),
    [((8, 12), (8, 12), []), ((8, 12), (16, 24), [(16, 24)]), ((16, 24), (16, 24), [(16, 24)])],
)
def test_masks_that_have_their_size_are_not_resized(
    monkeypatch: pytest.MonkeyPatch, size: Size, original: Size, wanted: list[Size]
) -> None:
    """They would come out the same to the bit, which the instances show."""
    whole, asked = torch.nn.functional.interpolate, []

    def counted(maps: Tensor, size: Size, **options: object) -> Tensor:
        asked.append(tuple(size))
        return whole(maps, size=size, **options)  # type: ignore[arg-type]

    logits = 3 * torch.randn(1, 6, 8, 12, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(torch.nn.functional, "interpolate", counted)
    (found,) = detect(network(sure(range(3)).repeat(1, 2, 1), logits), [sample(size, original)], 6)
    assert asked == wanted
    full = logits
    for step in (size, original):
        full = whole(full, size=step, mode="bilinear", align_corners=False)
    quality = (full.sigmoid() * (full > 0)).sum((2, 3)) / ((full > 0).sum((2, 3)) + 1e-6)
    order = quality[0].argsort(descending=True)
    assert torch.equal(found.masks, full[0, order] > 0)


def test_without_an_overlap_the_mask_is_empty() -> None:
    masks = rectangles((20, 20), (0, 0, 5, 5), (0, 0, 0, 0))
    _, filled = fill(sure([0, 0]), masks, torch.tensor([[10.0, 10, 20, 20], [1, 1, 5, 5]]))
    assert filled.flatten(1).any(dim=1).tolist() == [False, True]
    _, filled = fill(sure([0]), masks[:, 1:], torch.tensor([[0.0, 0, 20, 20]]))
    assert not filled.any()


def test_no_box_gets_no_mask() -> None:
    found, filled = fill(sure([0]), rectangles((20, 20), (0, 0, 5, 5)), torch.zeros(0, 4), (40, 40))
    assert len(found) == 3
    assert filled.shape == (0, 40, 40)


@examples(max_examples=40, deadline=None)
@given(st.integers(0, 999))
def test_a_mask_never_leaves_its_box(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    boxes = 30 * torch.rand(5, 4, generator=draw) - 5
    boxes[:, 2:] += boxes[:, :2]
    masks = 3 * torch.randn(1, 6, 6, 6, generator=draw)
    _, filled = fill(torch.randn(1, 6, 4, generator=draw), masks, boxes, (24, 24))
    for (x1, y1, x2, y2), mask in zip(boxes.tolist(), filled, strict=True):
        rows, columns = mask.nonzero(as_tuple=True)
        assert all(x1 < column + 1 and column < x2 for column in columns.tolist())
        assert all(y1 < row + 1 and row < y2 for row in rows.tolist())
