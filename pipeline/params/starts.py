"""Where backbones start."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field

from pipeline.params.base import Positive, Rate, Section, Seed, Weight


class ShapesPretraining(Section):
    """Backbone start learnt by classifying single procedural objects: the demo's downloaded weights."""

    kind: Literal["shapes_pretraining"]
    architecture: str
    images: Positive
    size: Annotated[int, Field(ge=32)]
    seed: Seed
    steps: Positive
    batch_size: Positive
    learning_rate: Rate
    weight_decay: Weight
    hard: bool
    threads: Positive


class TimmWeights(Section):
    """Backbone start downloaded by timm (needs a network once, then its cache)."""

    kind: Literal["timm"]
    architecture: str


class RandomStart(Section):
    """No start: every run initialises its backbone from its own seed."""

    kind: Literal["random"]
    architecture: str


class Whole(NamedTuple):
    """A whole network of a weight file: its architecture, and what trained it."""

    architecture: str
    supervision: Literal["masks", "boxes"]


class WeightFile(Section):
    """Start from a local .safetensors or .pth state dict, which the stage depends on.

    A table of its own, since DVC has no dependencies that only some rows have.
    """

    kind: ClassVar[Literal["file"]] = "file"
    architecture: str  # of the backbone
    path: str
    # All but the first are whole networks, in their authors' names.
    content: Literal["backbone", "mask2former", "condinst", "boxinst", "boxteacher"]

    @property
    def whole(self) -> Whole | None:
        """The whole network in the file, or None if it holds a backbone alone."""
        return None if self.content == "backbone" else _WHOLE[self.content]


_WHOLE = {
    "mask2former": Whole("mask2former", "masks"),
    "condinst": Whole("condinst", "masks"),
    "boxinst": Whole("condinst", "boxes"),
    "boxteacher": Whole("condinst", "boxes"),
}


Backbone = Annotated[ShapesPretraining | TimmWeights | RandomStart, Field(discriminator="kind")]
Start = Backbone | WeightFile
