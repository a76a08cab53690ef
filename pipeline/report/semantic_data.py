"""What the report shows of the semantic task, as typed values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.report.data import Curve, Difference, Interval, Rank

Figures = dict[str, float | None]


@dataclass(frozen=True)
class SemanticClasses:
    """The classes of label maps by index; background: whether the first one is what no object covers."""

    names: tuple[str, ...]
    background: bool


@dataclass(frozen=True)
class SemanticScene:
    """A gallery image with its label maps, (H, W) uint8 each.

    image: (H, W, 3) uint8 RGB; truth: classes and codes; plain, crf: predicted classes without and with a
    dense CRF, None without one; quality: mean IoU in percent over the classes of the image, None if unknown.
    """

    file_name: str
    rank: Rank
    image: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    plain: NDArray[np.uint8]
    crf: NDArray[np.uint8] | None
    quality: float | None


@dataclass(frozen=True)
class LabelMapRow:
    """One row of the comparison of label maps: a network that says the class of every pixel.

    drawn: what people gave (tags, points, scribbles, boxes or pixels); labels: the label set that it is
    trained on; figures: mIoU, boundary_mIoU, pixel_accuracy, mIoU_crf, boundary_mIoU_crf, crf_gain in
    percent, mean over seeds, None where undefined, absent without a dense CRF; intervals: figure -> its 95 %
    interval;
    retention, retention_crf: percent of the oracle's mIoU and mIoU_crf, with the first's interval; per_class:
    class -> IoU in percent; seed_scores: seed -> mIoU; confusion: (C, C) pixels of the first seed, ground
    truth by prediction; labelled_fraction: share of the dataset's training images, in [0, 1], that the row is
    trained on; not_computed: one line per figure that is missing; settings, environment: as `Row`.
    """

    name: str
    title: str
    method: str
    drawn: str
    labels: str
    oracle: str
    seeds: tuple[int, ...]
    figures: Figures
    intervals: dict[str, Interval | None]
    confusion: NDArray[np.int64]
    retention: float | None = None
    retention_interval: Interval | None = None
    retention_crf: float | None = None
    per_class: Figures = field(default_factory=dict)
    seed_scores: dict[int, float | None] = field(default_factory=dict)
    not_computed: tuple[str, ...] = ()
    model: str = ""
    train_images: int | None = None
    labelled_fraction: float | None = None
    params_million: float | None = None
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)

    @property
    def score(self) -> float | None:
        """mIoU in percent."""
        return self.figures.get("mIoU")

    @property
    def is_oracle(self) -> bool:
        """Whether the row is its own oracle."""
        return self.oracle == self.name


@dataclass(frozen=True)
class ScoredLabels:
    """A label set whose maps were held against the label maps of train.

    drawn: what people gave for it; origin: how it came of that, in words; labelled: the share of the pixels
    that have a label, labelled_accuracy: the share of those that are right; in mIoU, an unlabelled pixel is
    missed.  All in percent, None where undefined.  images: how many it has maps of.
    """

    name: str
    drawn: str
    origin: str
    labelled: float | None
    labelled_accuracy: float | None
    mIoU: float | None
    interval: Interval | None
    boundary_mIoU: float | None
    images: int


@dataclass(frozen=True)
class PriorPreview:
    """A picture of what training starts from: an over-segmentation, or labels of class activation maps.

    name: of the row of params.yaml; stage: of dvc.yaml that made what is shown; text: how, and figures of all
    images, in sentences; png: the picture.
    """

    kind: Literal["segments", "cams"]
    name: str
    stage: str
    text: str
    png: bytes

    @property
    def file(self) -> str:
        """Its name among the figures of the report."""
        return f"{self.kind}-{self.name}.png"

    @property
    def meaning(self) -> str:
        """What the picture shows, for those who do not see it."""
        if self.kind == "segments":
            return f"Training images with the borders of the regions of {self.name}"
        return f"Training images with class activation maps and the labels {self.name} made of them"


@dataclass(frozen=True)
class LabelMaps:
    """All that the report shows of the semantic task.

    differences, crf_differences: of mIoU and of mIoU after a dense CRF between rows; set_differences: of mIoU
    between label sets; scenes: images of `shown`, the row that ranks them; stand_ins: rows whose backbone
    start is the demo's stand-in for downloaded weights; priors: pictures of what training starts from.
    """

    classes: SemanticClasses
    rows: tuple[LabelMapRow, ...]
    differences: tuple[Difference, ...]
    crf_differences: tuple[Difference, ...]
    sets: tuple[ScoredLabels, ...]
    set_differences: tuple[Difference, ...]
    curves: dict[str, tuple[Curve, ...]]
    scenes: tuple[SemanticScene, ...]
    shown: str
    stand_ins: tuple[str, ...] = ()
    priors: tuple[PriorPreview, ...] = ()

    def row(self, name: str) -> LabelMapRow:
        """The row called `name`.  Raises KeyError for a name that is not in the comparison."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    @property
    def floor(self) -> tuple[str, float] | None:
        """The commonest class of the ground truth, and the mIoU in percent of a map that says it everywhere.

        What a network that has learnt nothing may have; None without a row or ground truth.
        """
        if not self.rows or not self.rows[0].confusion.any():
            return None
        pixels = self.rows[0].confusion.sum(axis=1)
        commonest = int(pixels.argmax())
        share = float(pixels[commonest] / pixels.sum())
        return self.classes.names[commonest], 100 * share / int((pixels > 0).sum())

    @property
    def slots(self) -> dict[str, int]:
        """Row -> its place in the palette."""
        return {row.name: index for index, row in enumerate(self.rows)}

    @property
    def leading(self) -> LabelMapRow | None:
        """The row with the best mIoU of those that learn from less than pixels; else of all; None without."""
        known = [row for row in self.rows if row.score is not None]
        weak = [row for row in known if row.drawn != "pixels"]
        return max(weak or known, key=lambda row: row.score or 0.0, default=None)
