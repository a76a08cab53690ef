"""What the report shows, as typed values: filled by `pipeline.report.load`, drawn by the other modules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pipeline.report.semantic_data import LabelMaps

HEADLINES = {"AP": "mask AP", "box_AP": "box AP", "mask_iou": "mask IoU"}
METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "boundary_AP", "mIoU", "mIoU_crf", "mask_iou", "box_AP")


Rank = Literal["best", "median", "worst", "sample"]


@dataclass(frozen=True)
class Interval:
    """A 95 % interval in percent (retention) or percentage points (AP, differences)."""

    low: float
    high: float

    @classmethod
    def of(cls, limits: list[float] | None) -> Interval | None:
        """From [low, high] as the metrics hold it; None stays None."""
        return cls(*limits) if limits else None


@dataclass(frozen=True)
class Separation:
    """How well the encoder of a run separates object and background in the crops of val's boxes.

    score: the clustering score of the MAL paper (Eq. 6) in [0, 4], lower is better, mean over seeds, None
    where no box counts; seeds: that of each seed; boxes: how many count; without_mask: boxes that have no
    ground-truth mask; one_sided: those whose crop has object or background only.
    """

    score: float | None
    seeds: dict[int, float | None]
    boxes: int
    without_mask: int
    one_sided: int


@dataclass(frozen=True)
class Row:
    """One row of the comparison: a trained run, or a baseline without training.

    supervision: "masks" or "boxes", what people annotated; labelled_fraction: of the training images, for
    which they did so, None of a baseline on the boxes of a run that has them for all; labelled_images,
    labelled_objects: of how many images, and how many boxes or masks, None of a baseline; unlabelled_images:
    of how many without labels it learns, too, None where it does not; network: which one it shows of a run
    with a "student" and a "teacher", or ""; through: the run whose pseudo-labels of
    them it is trained on, or ""; separation: of runs that params.yaml lists for it;
    oracle: a row's name, its own for an oracle, or "none"; metrics: METRICS -> percent, mean over seeds, None
    where it could not be computed; headline: the metric that seed_scores (of each seed), interval, retention
    (percent of the oracle's), per_category (class -> percent) and the differences are about: box_AP when the
    objects of val have no masks, mask_iou of a run that gives masks to given boxes; not_computed: one line
    per figure that is missing, with the reason; settings: section -> key -> value, as in params.yaml;
    environment: versions and hardware that trained it.
    """

    name: str
    title: str
    kind: Literal["run", "baseline"]
    task: str
    method: str
    model: str
    supervision: str
    labels: str
    oracle: str
    seeds: tuple[int, ...]
    metrics: dict[str, float | None]
    headline: str = "AP"
    seed_scores: dict[int, float | None] = field(default_factory=dict)
    interval: Interval | None = None
    mask_iou_interval: Interval | None = None
    retention: float | None = None
    retention_interval: Interval | None = None
    per_category: dict[str, float | None] = field(default_factory=dict)
    not_computed: tuple[str, ...] = ()
    through: str = ""
    separation: Separation | None = None
    labelled_fraction: float | None = None
    labelled_images: int | None = None
    labelled_objects: int | None = None
    train_images: int | None = None
    unlabelled_images: int | None = None
    network: str = ""
    params_million: float | None = None
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)

    @property
    def score(self) -> float | None:
        """The headline figure in percent, mean over seeds."""
        return self.metrics.get(self.headline)

    @property
    def detects(self) -> bool:
        """Whether the row finds objects by itself, rather than give masks to the ground-truth boxes."""
        return self.headline != "mask_iou"

    @property
    def is_oracle(self) -> bool:
        """Whether the row is its own oracle: the full supervision that others are measured against."""
        return self.oracle == self.name

    @property
    def is_partial(self) -> bool:
        """Whether people annotated a part of the training images only."""
        return self.labelled_fraction is not None and self.labelled_fraction < 1

    @property
    def is_weak(self) -> bool:
        """Whether people gave less than the masks of all training images."""
        return self.supervision != "masks" or self.is_partial


@dataclass(frozen=True)
class Difference:
    """A figure (the headline, or mask IoU) of `first` minus that of `second` in points, on the same images.

    within_noise: whether the interval holds 0; both None when there is no honest interval.
    """

    first: str
    second: str
    difference: float
    interval: Interval | None
    within_noise: bool | None


@dataclass(frozen=True)
class Curve:
    """What one seed of a run logged: steps (S,) and, for each name (`loss`, ...), values (S,)."""

    seed: int
    steps: NDArray[np.float64]
    values: dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Shape:
    """One object: mask (H, W) bool or None when only its box is known; box x, y, width, height in pixels.

    score: in [0, 1] for a detection, None for ground truth; crowd: a region to ignore, not an object.
    """

    category: str
    box: tuple[float, float, float, float]
    mask: NDArray[np.bool_] | None
    score: float | None = None
    crowd: bool = False


@dataclass(frozen=True)
class Scene:
    """A gallery image: the same for all rows, which show their N best detections of its N objects.

    A row that does not detect shows the masks it gives to the boxes of the N objects.  rank: "sample" where
    images cannot be ranked; image: (H, W, 3) uint8 RGB; quality: row -> mean IoU over the objects, percent,
    or None.  Of a training image, truth is the boxes of a label set, and in the place of the rows are the
    sets of pseudo-labels made of it, of unknown quality.
    """

    image_id: int
    file_name: str
    rank: Rank
    image: NDArray[np.uint8]
    truth: tuple[Shape, ...]
    predictions: dict[str, tuple[Shape, ...]]
    quality: dict[str, float | None]


@dataclass(frozen=True)
class PseudoLabelSet:
    """A label set of masks that a run gave to the boxes of another label set, and how good they are.

    labeler: the run's name; boxes: the other label set; objects, of which `missing` have no pseudo-label (as
    too small a box has none), `empty` have an empty one and `compared` have one and a ground-truth mask;
    figures, in percent over the compared objects, None where undefined, absent without ground-truth masks:
    mask_iou, small, medium, large (mean IoU, and by COCO's sizes), half (share with IoU 0.5 or more),
    class_mean (mean over classes); intervals: of mask_iou and half; not_computed: as for a row; labeling:
    key -> value, as in params.yaml; unlike_row: the keys of it that give other masks than predict.labeling,
    by which the labeler's row of the comparison is made.
    """

    name: str
    labeler: str
    seed: int
    boxes: str
    objects: int
    missing: int
    empty: int
    compared: int
    figures: dict[str, float | None]
    intervals: dict[str, Interval | None]
    not_computed: tuple[str, ...]
    labeling: dict[str, Any]
    unlike_row: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataSummary:
    """The prepared dataset.

    source: where it comes from, as in params.yaml; splits: split -> name of a count -> value; instances:
    class -> split -> objects, in the dataset's order; warnings: one line each.
    """

    source: dict[str, Any]
    splits: dict[str, dict[str, str]]
    instances: dict[str, dict[str, int]]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class ReportData:
    """All of one benchmark's report.

    differences: of the headline figure, between the rows that are compared by it; mask_iou_differences:
    between all rows that have mask IoU; training_scenes: training images with boxes and pseudo-labels;
    ranked_by: the row whose quality chose the gallery's images, "" if none could; stand_ins: rows whose
    backbone start is the demo's stand-in for downloaded weights; label_maps: the semantic task, None without;
    pseudo_masks: of runs that params.yaml lists for it, a curve per seed of what a teacher gave its student.
    """

    benchmark: str
    title: str
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    curves: dict[str, tuple[Curve, ...]]
    scenes: tuple[Scene, ...]
    summary: DataSummary
    mask_iou_differences: tuple[Difference, ...] = ()
    pseudo_labels: tuple[PseudoLabelSet, ...] = ()
    training_scenes: tuple[Scene, ...] = ()
    ranked_by: str = ""
    stand_ins: tuple[str, ...] = ()
    label_maps: LabelMaps | None = None
    pseudo_masks: dict[str, tuple[Curve, ...]] = field(default_factory=dict)

    def row(self, name: str) -> Row:
        """The row called `name`.  Raises KeyError for a name that is not in the comparison."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    @property
    def headline_metric(self) -> str:
        """The metric that rows are compared by: that of the rows that detect; without any, mask IoU."""
        return next((row.headline for row in self.rows if row.detects), "mask_iou" if self.rows else "AP")

    @property
    def headline(self) -> str:
        """The metric that rows are compared by, for people: "mask AP", "box AP" or "mask IoU"."""
        return HEADLINES[self.headline_metric]

    @property
    def headline_rows(self) -> tuple[Row, ...]:
        """The rows that are compared by the headline: all, or all but those that do not detect."""
        return tuple(row for row in self.rows if row.headline == self.headline_metric)

    @property
    def headline_differences(self) -> tuple[Difference, ...]:
        """The differences of the headline figure."""
        return self.mask_iou_differences if self.headline_metric == "mask_iou" else self.differences

    @property
    def labelers(self) -> tuple[Row, ...]:
        """The rows that give masks to given boxes, where those that detect set the headline."""
        return tuple(row for row in self.rows if not row.detects and self.headline_metric != row.headline)

    @property
    def categories(self) -> tuple[str, ...]:
        """Classes with a figure in any row, in the dataset's order, then any others by name."""
        named = {name for row in self.rows for name in row.per_category}
        known = [name for name in self.summary.instances if name in named]
        return (*known, *sorted(named.difference(known)))
