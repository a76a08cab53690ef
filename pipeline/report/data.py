"""What the report shows, as typed values: filled by `pipeline.report.load`, drawn by the other modules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

HEADLINES = {"AP": "mask AP", "box_AP": "box AP"}
METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "boundary_AP", "mIoU", "mIoU_crf", "mask_iou", "box_AP")


@dataclass(frozen=True)
class Interval:
    """A 95 % interval in percent (retention) or percentage points (AP, differences)."""

    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """One row of the comparison: a trained run, or a baseline without training.

    supervision: "masks" or "boxes"; oracle: a row's name, its own for an oracle, or "none"; metrics: METRICS
    -> percent, mean over seeds, None where it could not be computed; headline: the metric that seed_scores
    (of each seed), interval, retention (percent of the oracle's), per_category (class -> percent) and the
    differences are about: box_AP when the objects of val have no masks; not_computed: one line per figure
    that is missing, with the reason; settings: section -> key -> value, as in params.yaml; environment:
    versions and hardware that trained it.
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
    retention: float | None = None
    retention_interval: Interval | None = None
    per_category: dict[str, float | None] = field(default_factory=dict)
    not_computed: tuple[str, ...] = ()
    labelled_fraction: float | None = None
    train_images: int | None = None
    params_million: float | None = None
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)

    @property
    def score(self) -> float | None:
        """The headline figure in percent, mean over seeds."""
        return self.metrics.get(self.headline)

    @property
    def is_oracle(self) -> bool:
        """Whether the row is its own oracle: the full supervision that others are measured against."""
        return self.oracle == self.name


@dataclass(frozen=True)
class Difference:
    """Headline figure of `first` minus that of `second` in points, on the same images.

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

    image: (H, W, 3) uint8 RGB; quality: row -> percent in this image (mean mask IoU over its objects), or None.
    """

    image_id: int
    file_name: str
    rank: Literal["best", "median", "worst"]
    image: NDArray[np.uint8]
    truth: tuple[Shape, ...]
    predictions: dict[str, tuple[Shape, ...]]
    quality: dict[str, float | None]


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

    ranked_by: the row whose quality chose the gallery's images, "" without a gallery; stand_ins: rows
    whose backbone start is the demo's stand-in for downloaded weights.
    """

    benchmark: str
    title: str
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    curves: dict[str, tuple[Curve, ...]]
    scenes: tuple[Scene, ...]
    summary: DataSummary
    ranked_by: str = ""
    stand_ins: tuple[str, ...] = ()

    def row(self, name: str) -> Row:
        """The row called `name`.  Raises KeyError for a name that is not in the comparison."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    @property
    def headline(self) -> str:
        """The metric that rows are compared by, for people: "mask AP" or "box AP"."""
        return HEADLINES[self.rows[0].headline] if self.rows else HEADLINES["AP"]

    @property
    def categories(self) -> tuple[str, ...]:
        """Classes with a figure in any row, in the dataset's order, then any others by name."""
        named = {name for row in self.rows for name in row.per_category}
        known = [name for name in self.summary.instances if name in named]
        return (*known, *sorted(named.difference(known)))
