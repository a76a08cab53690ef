"""Over-segmentations: contours, hierarchy, and where it is cut."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.params.base import Count, Positive, Rate, Section, Share


class BuiltInContours(Section):
    """The detector of brightness, colour and texture that needs no training (pipeline/priors/contours.py)."""

    kind: Literal["built_in"]
    words: Annotated[
        int, Field(ge=2, le=64)
    ]  # of colour and of texture per image: 24, or 12 for small images
    scales: Literal[1, 2, 3]  # discs of radius 5, then 10, then 20 pixels
    spectral: Share  # weight of the contours of the image's spectral clustering; 0 leaves that step out


class GradientContours(Section):
    """Steps of brightness and colour alone: for small images without texture, and as a baseline."""

    kind: Literal["gradient"]
    sigma: Rate  # pixels of the Gaussian whose slope is taken


class HedContours(Section):
    """HED (arXiv 1504.06375) with weights from a local file; pipeline/models/hed.py names the tensors."""

    kind: Literal["hed"]
    path: str


class ContourFiles(Section):
    """The user's own contour maps: grey PNGs of the images' sizes, 0 to 255, named as the images."""

    kind: Literal["files"]
    path: str  # their folder


ImageContours = Annotated[BuiltInContours | GradientContours, Field(discriminator="kind")]
FileContours = Annotated[HedContours | ContourFiles, Field(discriminator="kind")]
Contours = BuiltInContours | GradientContours | HedContours | ContourFiles


class MeanBoundary(Section):
    """Merges the two neighbours with the weakest mean boundary, again and again (gPb-owt-ucm)."""

    kind: Literal["mean_boundary"]
    oriented: bool  # read each border's strength at its own orientation


class FloodedArea(Section):
    """Watershed by area: a region lasts by its size."""

    kind: Literal["area"]


class FloodedVolume(Section):
    """Watershed by volume: a region lasts by its size times the strength of its border."""

    kind: Literal["volume"]


Hierarchy = Annotated[MeanBoundary | FloodedArea | FloodedVolume, Field(discriminator="kind")]


class AtLevel(Section):
    """All borders up to a strength are removed."""

    kind: Literal["level"]
    level: Share


class AtCount(Section):
    """As many regions in every image."""

    kind: Literal["count"]
    count: Positive


Cut = Annotated[AtLevel | AtCount, Field(discriminator="kind")]


class _OverSegmentation(Section):
    """An over-segmentation of every training image."""

    hierarchy: Hierarchy
    cut: Cut
    min_region: Count  # pixels; smaller regions join the neighbour to which they have the weakest border
    most: Annotated[int, Field(ge=1, le=2**16)]  # regions of an image, whatever the cut would leave
    processes: Positive

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.cut.kind == "level" and self.hierarchy.kind != "mean_boundary":
            raise ValueError(
                f"cut.kind must be count: the levels of a watershed by {self.hierarchy.kind} are no strengths"
            )
        if self.cut.kind == "count" and self.cut.count > self.most:
            raise ValueError(f"cut.count {self.cut.count} must not exceed most {self.most}")
        return self


class BuiltInSegments(_OverSegmentation):
    """From the images alone."""

    contours: ImageContours


class FileSegments(_OverSegmentation):
    """With weights or contour maps of the user.

    A table of its own, since DVC has no dependencies that only some rows have: this one's is `contours.path`.
    """

    contours: FileContours


Segments = BuiltInSegments | FileSegments
