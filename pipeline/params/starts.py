"""Where backbones start."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

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


class WeightFile(Section):
    """Start from a local .safetensors or .pth state dict, which the stage depends on.

    A table of its own, since DVC has no dependencies that only some rows have.
    """

    kind: ClassVar[Literal["file"]] = "file"
    architecture: str  # of the backbone
    path: str
    content: Literal["backbone", "mask2former"]  # mask2former: the whole network, in its authors' names


Backbone = Annotated[ShapesPretraining | TimmWeights | RandomStart, Field(discriminator="kind")]
Start = Backbone | WeightFile
