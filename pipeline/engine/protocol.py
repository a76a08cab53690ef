"""What the engine knows of a method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

if TYPE_CHECKING:  # which imports torchvision: seconds, for stages that need none of it
    from pipeline.structures import Instances, Sample


class Item(Protocol):
    """What the engine knows of a training sample: the image it is from, and how to move it to a device.

    A sample of several images may have an `origin`, text that names them all in messages.
    """

    @property
    def image_id(self) -> int: ...

    def to(self, device: torch.device) -> Self: ...


ItemT = TypeVar("ItemT", bound=Item)


class Trainable(Protocol[ItemT]):
    """What the training loop needs: a network and its losses.  It reads no files and no params.yaml.

    module: everything that is saved (a teacher lives inside it).  While training, the engine may put a
    wrapper for several processes in its place, so `losses` calls `self.module(...)` itself, exactly
    once, and does everything else by pure functions.  All that the forward returns must take part in
    the losses, with weight 0 where a batch has nothing to learn from it: the gradients of several
    processes could not be averaged otherwise.
    """

    module: nn.Module

    def losses(self, batch: list[ItemT], step: int) -> dict[str, Tensor]:
        """Scalars of one batch on the module's device; `step` counts from 0.

        The engine adds them up and minimises the sum, so they carry their weights already.  Entries
        whose names start with `metric_` are logged and not summed; NaN there means "not defined for
        this batch".  In one step all processes return the same names in the same order.
        """
        ...

    def after_step(self, step: int) -> None:
        """Called after the optimiser's step `step` (from 0): the place for moving averages."""
        ...


@runtime_checkable
class Remembers(Protocol):
    """A trainable that carries more from step to step than its module's tensors: it is in checkpoints, too.

    Every process has the same; what is not the same belongs into the module's buffers or is drawn anew.
    """

    def memory(self) -> Any:
        """What `recall` takes: tensors, numbers and text in lists and dicts."""
        ...

    def recall(self, memory: Any) -> None:
        """Go on from what `memory` gave; its tensors are on the CPU."""
        ...


@runtime_checkable
class LeavesRecords(Protocol):
    """A trainable that leaves records of its training beside the model, which no prediction needs."""

    def records(self) -> dict[str, Any]:
        """File name -> content, for JSON; the same for the same training, killed on the way or not."""
        ...


class Method(Trainable[ItemT], Protocol[ItemT]):
    """A trainable that also predicts."""

    def predict(self, samples: list[Sample]) -> list[Instances]:
        """Detections of each image, in its original size."""
        ...

    def predict_with_boxes(
        self, samples: list[Sample], boxes: list[Tensor]
    ) -> tuple[list[Instances], list[Tensor]]:
        """Detections, and masks (N, H, W) bool in the original size for (N, 4) xyxy boxes in original pixels.

        A mask never leaves its box.
        """
        ...
