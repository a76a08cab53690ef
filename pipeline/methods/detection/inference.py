"""From dense predictions to detections, and from mask probabilities to masks of the original image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image

from pipeline.methods.detection.dense import DenseOutputs
from pipeline.methods.detection.proposals import rank_in_group
from pipeline.methods.detection.segmenter import Wanted
from pipeline.methods.detection.targets import Locations
from pipeline.models.layers import aligned_bilinear
from pipeline.params import Predict

MASK_THRESHOLD = 0.5
LEAST_PIXELS = 1e-6  # added to the number of a mask's pixels, which may be 0
MASKS_AT_ONCE = 32  # of an image, enlarged together: bounds memory for full-size images


@dataclass
class Detections:
    """Detections of one image, best score first, in pixels of the resized image, not clipped.

    boxes: (N, 4) xyxy; labels: (N,) int64; scores: (N,) in [0, 1]; cells: (N,) int64, the locations
    they come from.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    cells: Tensor


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """The module in evaluation mode, without gradients; afterwards each part in the mode it had."""
    training = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in training.items():
            part.training = mode


def decode_boxes(distances: Tensor, locations: Locations) -> Tensor:
    """Boxes (..., L, 4) xyxy in pixels from (..., L, 4) distances in strides."""
    reach = distances * locations.strides[:, None]
    return torch.cat((locations.points - reach[..., :2], locations.points + reach[..., 2:]), dim=-1)


def detect(dense: DenseOutputs, locations: Locations, settings: Predict) -> list[Detections]:
    """Detections of each image of the batch.

    Class probability times centre-ness probability must exceed `score_threshold`; of those, each level
    keeps the best `pre_nms_topk`, all levels together go through class-wise NMS, and the best
    `detections_per_image` remain.  The reported score is the square root of the product.
    """
    scores = dense.class_logits.sigmoid() * dense.centerness.sigmoid()[..., None]
    boxes = decode_boxes(dense.distances, locations)
    return [_detect_one(*pair, locations.levels, settings) for pair in zip(scores, boxes, strict=True)]


def _detect_one(scores: Tensor, boxes: Tensor, levels: Tensor, settings: Predict) -> Detections:
    """scores: (L, K); boxes: (L, 4)."""
    cells, labels = (scores > settings.score_threshold).nonzero(as_tuple=True)
    values = scores[cells, labels]
    kept = rank_in_group(levels[cells], values) < settings.pre_nms_topk
    cells, labels, values = cells[kept], labels[kept], values[kept]
    chosen = batched_nms(boxes[cells], values, labels, settings.nms_threshold.condinst)
    chosen = chosen[: settings.detections_per_image]
    cells = cells[chosen]
    return Detections(boxes[cells], labels[chosen], values[chosen].sqrt(), cells)


def best_cells(predicted: Tensor, boxes: Tensor) -> Tensor:
    """For each of (N, 4) boxes the location whose predicted box, of (L, 4), overlaps it best: (N,) int64.

    The first location wins ties.
    """
    overlaps: Tensor = box_iou(boxes, predicted)
    return overlaps.argmax(dim=1)


def rescale_boxes(boxes: Tensor, size: tuple[int, int], new_size: tuple[int, int]) -> Tensor:
    """Move (N, 4) xyxy boxes from an image of (height, width) `size` to the same image at `new_size`."""
    (height, width), (new_height, new_width) = size, new_size
    factors = boxes.new_tensor([new_width / width, new_height / height])
    return boxes * factors.repeat(2)


def original_boxes(boxes: Tensor, size: tuple[int, int], original: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Boxes in the original image, clipped to it, and which of them are not empty: (N, 4) and (N,) bool."""
    boxes = clip_boxes_to_image(rescale_boxes(boxes, size, original), original)
    return boxes, (boxes[:, 2:] > boxes[:, :2]).all(dim=1)


def chosen(image: int, boxes: Tensor, kept: Tensor, wanted: Wanted | None) -> Tensor:
    """Which of the (N, 4) boxes of an image are kept, (N,) bool, and are wanted: (n,) int64."""
    places = kept.nonzero()[:, 0]
    return places if wanted is None else places[wanted(image, boxes[places])]


def enlarged(
    probabilities: Tensor, stride: int, size: tuple[int, int], original: tuple[int, int]
) -> Iterator[Tensor]:
    """(n, *original) probabilities, n at a time, of (N, h, w) ones on the stride's grid of the padded image.

    Probabilities, not logits, are enlarged to the padded image, cut to the resized image's `size` and
    resized to the original one.
    """
    for part in torch.split(probabilities[:, None], MASKS_AT_ONCE) if len(probabilities) else ():
        full = aligned_bilinear(part, stride)[..., : size[0], : size[1]]
        yield F.interpolate(full, size=original, mode="bilinear", align_corners=False)[:, 0]


def thresholded(parts: Iterable[Tensor], original: tuple[int, int], device: torch.device) -> Tensor:
    """Masks (N, *original) bool of probabilities, which are enlarged already: edges fall between pixels."""
    none = torch.zeros(0, *original, dtype=torch.bool, device=device)
    return torch.cat([none, *(part > MASK_THRESHOLD for part in parts)])


def measured(
    parts: Iterable[Tensor], original: tuple[int, int], device: torch.device, *, soft: bool
) -> tuple[Tensor, Tensor]:
    """Masks (N, *original) as `thresholded`, and the mean probability of each over its pixels: (N,).

    An empty mask has 0.  soft: masks are the probabilities themselves, and the mean is over all pixels.
    """
    kind = torch.float32 if soft else torch.bool
    masks = [torch.zeros(0, *original, dtype=kind, device=device)]
    means = [torch.zeros(0, device=device)]
    for part in parts:
        counted = torch.ones_like(part, dtype=torch.bool) if soft else part > MASK_THRESHOLD
        sums, counts = (part * counted).sum(dim=(1, 2)), counted.sum(dim=(1, 2))
        masks.append(part if soft else counted)
        means.append(sums / (counts + LEAST_PIXELS))
    return torch.cat(masks), torch.cat(means)


def clip_masks(masks: Tensor, boxes: Tensor) -> Tensor:
    """Masks (N, H, W) bool without the pixels that lie wholly outside their (N, 4) xyxy boxes."""
    rows = torch.arange(masks.shape[1], device=masks.device)
    columns = torch.arange(masks.shape[2], device=masks.device)
    left, top, right, bottom = (side[:, None] for side in boxes.unbind(dim=1))
    in_rows = (rows + 1 > top) & (rows < bottom)
    in_columns = (columns + 1 > left) & (columns < right)
    return masks & in_rows[:, :, None] & in_columns[:, None, :]
