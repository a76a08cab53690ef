"""A dense CRF on the mask of another baseline: what that refinement gives without any training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline import params
from pipeline.data.masks import decode
from pipeline.methods.baselines.box_masks import Masks, MasksFromBoxes
from pipeline.methods.mal.pseudo_masks import CUT, paste
from pipeline.methods.mal.rois import Region, crop, crop_image, crop_mask, expand_test, resize
from pipeline.priors.crf.inference import dense_crf


def masks_from_boxes(
    image: NDArray[np.uint8],
    boxes: NDArray[np.float64],
    start: MasksFromBoxes,
    settings: params.CrfBaseline,
) -> Masks:
    """(H, W, 3) uint8 RGB image and (N, 4) xyxy boxes in pixels -> (N, H, W) bool masks.

    What an auto-labeler does with the probabilities of its network: the same crops, the same CRF, no object
    outside the box (but for the pixel by which enlarging may blur its edge), the same way back into the
    image.  In the place of the network is a mask that `start` gives, as the probability `certainty` of object
    inside of it and of background elsewhere in the box.  It is the answer itself where the CRF leaves no
    pixel.
    """
    masks = start(image, boxes)
    size = (image.shape[0], image.shape[1])
    for mask, box in zip(masks, np.asarray(boxes, dtype=np.float32).reshape(-1, 4), strict=True):
        left, top, right, bottom = expand_test(box[None], settings.expand)[0].tolist()
        region = (left, top, right, bottom)
        probability = _refine(image, mask, box, region, settings)
        refined = decode([paste(probability, region, size, CUT)], size)[0]
        if refined.any():
            mask[:] = refined
    return masks


def _refine(
    image: NDArray[np.uint8],
    mask: Masks,
    box: NDArray[np.float32],
    region: Region,
    settings: params.CrfBaseline,
) -> NDArray[np.float32]:
    """(S, S) in [0, 1], 0 outside the box."""
    side, size = settings.crop_size, (image.shape[0], image.shape[1])
    inside = crop_mask(box, region, size, side, wrap=False)
    share = resize(crop(mask.astype(np.uint8) * np.uint8(255), region), side) / np.float32(255)
    least = np.float32(1 - settings.certainty)
    probability = (least + (1 - 2 * least) * share) * inside
    both = np.stack([1 - probability, probability]).astype(np.float32)
    refined: NDArray[np.float32] = dense_crf(crop_image(image, region, side), both, settings.dense_crf)[1]
    return refined * inside
