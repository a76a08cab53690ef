"""What a method needs of an instance segmenter: detections, and masks to lay losses on.

A segmenter holds settings and no tensors.  The network is an argument, so that a student, its teacher and
the engine's wrapper can all be asked by the same segmenter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from pipeline.structures import PaddedBatch, Target

Size = tuple[int, int]  # (height, width)
# Of an image of the batch, and its detections' boxes (N, 4), best score first: which are wanted, (N,) bool.
Wanted = Callable[[int, Tensor], Tensor]


@dataclass
class Learnt:
    """What a network makes of a batch from which it learns: its detection losses, and N chosen proposals.

    losses: of the detections, scalars with their weights, by name.  logits: (N, H / stride, W / stride)
    float32, each proposal's mask over the whole padded image (H, W); cell (row, column) stands for the pixel
    (row * stride + stride // 2, column * stride + stride // 2).  N may be 0; the logits are connected to
    the graph then, too.  boxes: (N,) int64, which of the batch's concatenated boxes a proposal is for;
    images: (N,) int64, ascending, which image it is in.
    """

    losses: dict[str, Tensor]
    logits: Tensor
    boxes: Tensor
    images: Tensor
    stride: int


@dataclass
class Found:
    """Detections of one image, best score first, in pixels of the size that was asked for.

    boxes: (N, 4) float32 xyxy, clipped to the image and not empty; labels: (N,) int64; scores: (N,) float32
    in [0, 1]; masks: (N, H, W) bool, or float32 probabilities; certainty: (N,) float32 in [0, 1], the mean
    probability over the pixels of the mask, 0 of an empty one, or over all pixels where masks are soft.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    masks: Tensor
    certainty: Tensor


class Seen(Protocol):
    """What a network sees in a batch of images, which is asked for detections, and for masks of boxes."""

    def find(self, sizes: Sequence[Size], *, soft: bool = False, wanted: Wanted | None = None) -> list[Found]:
        """Detections of each image, scaled to the (height, width) `sizes`; soft: masks are probabilities.

        Those that are not wanted, of boxes at `sizes`, are left out before they cost a mask.
        """
        ...

    def fill(self, sizes: Sequence[Size], boxes: Sequence[Tensor]) -> list[Tensor]:
        """A mask for each given box: (N, H, W) bool per image, clipped to the box.

        boxes: (N, 4) xyxy per image, in pixels of the image at its size of `sizes`; N may be 0.
        """
        ...


class Segmenter(Protocol):
    """An instance segmenter whose masks a method teaches.

    padding_divisor: the padded sides of a batch are multiples of it.
    """

    padding_divisor: int

    def learn(self, network: nn.Module, padded: PaddedBatch, targets: Sequence[Target], step: int) -> Learnt:
        """Call the network once, in training mode, on images with their targets; `step` counts from 0.

        Masks are no part of what is asked here: a target may have none.
        """
        ...

    def see(self, network: nn.Module, padded: PaddedBatch) -> Seen:
        """Look at images without learning; the network is in evaluation mode, but for statistics of batches.

        Whoever calls it switches gradients off.
        """
        ...
