"""A dense CRF without a network: it sees what the labeler's sees."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import params
from pipeline.data.masks import decode
from pipeline.methods.baselines import ellipse, fill
from pipeline.methods.baselines.box_masks import Masks
from pipeline.methods.baselines.crf import masks_from_boxes
from pipeline.methods.mal.crops import placed_crop
from pipeline.methods.mal.pseudo_masks import CUT, paste
from pipeline.methods.mal.refinement import refine_crops
from tests.methods.mal.toy_labeling import RADIUS, SIDE, disc
from tests.priors.crf.settings import SEAM

CENTER = (30, 28)
BOX = np.array([[18.0, 16.0, 42.0, 40.0]])
SETTINGS = params.CrfBaseline(
    title="CRF",
    kind="crf",
    start="ellipse",
    certainty=0.7,
    crop_size=48,
    expand=0.6,
    dense_crf=SEAM,
    detections="boxinst",
    oracle="none",
    processes=1,
)


def picture(truth: Masks) -> NDArray[np.uint8]:
    """Bright where `truth` (H, W) is, with some noise."""
    noise = np.random.default_rng(0).integers(0, 30, (*truth.shape, 3))
    return (40 + 150 * truth[:, :, None] + noise).astype(np.uint8)


def iou(first: Masks, second: Masks) -> float:
    return float((first & second).sum() / (first | second).sum())


def test_it_is_what_the_labeler_does_with_a_mask_for_its_network() -> None:
    image = picture(disc(CENTER))

    def everywhere(pixels: NDArray[np.uint8], boxes: NDArray[np.floating]) -> Masks:
        return np.ones((len(boxes), *pixels.shape[:2]), dtype=bool)

    crop = placed_crop(image, BOX[0].astype(np.float32), 48, 0.6, 1, 1)
    own = 0.7 * crop.box[None].float()
    refined = refine_crops(own, crop.image[None], crop.box[None], SEAM).numpy()
    expected = decode([paste(refined[0], crop.region, crop.size, CUT)], crop.size)
    assert expected.any()
    np.testing.assert_array_equal(masks_from_boxes(image, BOX, everywhere, SETTINGS), expected)


@pytest.mark.parametrize("start", [fill, ellipse])
def test_it_finds_an_object_of_another_shape(start: object) -> None:
    truth = disc(CENTER)
    truth[CENTER[1] - RADIUS // 2 : CENTER[1] + RADIUS // 2, CENTER[0] :] = False  # a mouth
    image = picture(truth)
    before = start.masks_from_boxes(image, BOX)[0]  # type: ignore[attr-defined]
    after = masks_from_boxes(image, BOX, start.masks_from_boxes, SETTINGS)[0]  # type: ignore[attr-defined]
    assert iou(after, truth) > max(0.9, iou(before, truth) + 0.1)


def test_the_start_is_the_answer_where_the_crf_leaves_no_pixel() -> None:
    """A box without an object, of which the CRF makes one piece with what is around it."""
    image = np.full((SIDE, SIDE, 3), 90, dtype=np.uint8)
    box = np.array([[30.0, 30.0, 33.0, 33.0]])
    unsure = SETTINGS.model_copy(update={"certainty": 0.51})
    made = masks_from_boxes(image, box, ellipse.masks_from_boxes, unsure)
    np.testing.assert_array_equal(made, ellipse.masks_from_boxes(image, box))


def test_boxes_at_the_edges_and_far_outside_have_masks() -> None:
    image = picture(disc(CENTER))
    boxes = np.array([[-9.5, -3, 20, 9], [0, 0, SIDE, SIDE], [60, 60, 70, 80], [10, 10, 10.2, 30]])
    made = masks_from_boxes(image, boxes, fill.masks_from_boxes, SETTINGS)
    assert made.shape == (4, SIDE, SIDE)
    assert made.any(axis=(1, 2)).all()
