"""Weak labels of the semantic task: tags, boxes, points and scribbles, from masks or a user's own files."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.params.base import Count, Name, Percent, Positive, Section, Seed, Share

SemanticKind = Literal[
    "tags", "boxes", "points", "scribbles", "pixels", "cam_tags", "cam_boxes", "spread", "grown"
]


class Paint(Section):
    """Label maps of a split, painted from the masks of its instances."""

    processes: Positive


class _WeakLabels(Section):
    """A label set that is derived from the label maps of `split`, and from instances where there are any."""

    split: Literal["train", "val"]
    percent: Percent  # of the split's images that are labelled; of one seed, nested and of all kinds the same
    seed: Seed  # which images are labelled, and where marks are drawn
    processes: Positive


class TagLabels(_WeakLabels):
    """Which classes an image shows."""

    kind: Literal["tags"]


class PixelLabels(_WeakLabels):
    """The whole label maps: what the oracle is trained on."""

    kind: Literal["pixels"]


class BoxLabels(_WeakLabels):
    """A box around every object, or around every connected part of a class where objects are not known."""

    kind: Literal["boxes"]
    min_area: Positive  # pixels, below which an object is overlooked


class PointLabels(_WeakLabels):
    """Clicks into every object."""

    kind: Literal["points"]
    per_object: Positive
    background: Count  # clicks into the background of an image, where the dataset has one
    radius: Count  # of the disc that a click labels; SPML: 6
    min_area: Positive


class ScribbleLabels(_WeakLabels):
    """A stroke through every object."""

    kind: Literal["scribbles"]
    length: Share  # of each stroke that is kept; SPML: 1, 0.8, 0.5, 0.3, and 0, which is a point
    background: Count  # strokes through the background of an image, where the dataset has one
    radius: Count  # of the disc that moves along a stroke; SPML: 3
    min_area: Positive


class AnnotatedPoints(_WeakLabels):
    """The points that the dataset's own annotators set, as in DensePose."""

    kind: Literal["annotated_points"]
    background: Count
    radius: Count
    min_area: Positive  # of a part of the background


WeakLabels = Annotated[
    TagLabels | PixelLabels | BoxLabels | PointLabels | ScribbleLabels | AnnotatedPoints,
    Field(discriminator="kind"),
]


class TagFile(Section):
    """Tags that people gave, one JSON file for all images.

    Tables of their own, this one and the next two, since DVC has no dependencies that only some rows have.
    """

    path: str  # of the file, relative to the repository


class ScribbleFolder(Section):
    """Strokes that people drew, in ScribbleSup's XML files, one per image."""

    path: str  # folder of the XML files, relative to the repository
    length: Share  # as in ScribbleLabels: one point of each stroke for 0
    radius: Count
    seed: Seed  # where shorter strokes begin
    processes: Positive


class PartialMapFolder(Section):
    """Partial label maps that a user has, as the authors of SPML offer them: an 8-bit NAME.png per image.

    Values from the number of classes to 254 are pixels that nobody labelled.
    """

    path: str  # folder of the PNG files, relative to the repository
    kind: Literal["points", "scribbles", "pixels"]
    value_255: Literal["unlabelled", "void"]  # SPML drops void pixels; most tools write 255 for unlabelled
    processes: Positive


class GrownLabels(Section):
    """Points, strokes or partial maps that an over-segmentation alone spreads (priors/region_growing.py).

    What SPML must beat: the same labels and the same regions, and nothing learnt.
    """

    labels: Name  # a label set with maps
    segments: Name  # an over-segmentation of the training images
    processes: Positive
