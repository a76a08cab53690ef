"""Which boxes of a label file are cropped, and how many are not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.labels.label_file import LabelFile


@dataclass(frozen=True)
class BoxRule:
    """A box is used when min_area < w * h < max_area and both w and h exceed min_side, in pixels."""

    min_area: float
    max_area: float
    min_side: float

    def problems(self, boxes: NDArray[np.float32]) -> NDArray[np.int64]:
        """(N,) for (N, 4) x0 y0 x1 y1: 0 where a box is used, 1 too thin, 2 too small, 3 too large."""
        sides = boxes[:, 2:] - boxes[:, :2]
        area = sides[:, 0] * sides[:, 1]
        thin = (sides <= self.min_side).any(axis=1)
        return np.select([thin, area <= self.min_area, area >= self.max_area], [1, 2, 3], 0)

    def reasons(self, counts: BoxCounts) -> str:
        """Why boxes are not used, for people: "3 at most min_side 2 pixels wide or high", and so on."""
        every = (
            (counts.thin, f"at most min_side {self.min_side:g} pixels wide or high"),
            (counts.small, f"of at most min_area {self.min_area:g} square pixels"),
            (counts.large, f"of at least max_area {self.max_area:g} square pixels"),
        )
        return ", ".join(f"{count} {reason}" for count, reason in every if count)


@dataclass(frozen=True)
class BoxCounts:
    """Boxes by what became of them; each is counted once, by the first of the reasons in this order."""

    used: int
    thin: int
    small: int
    large: int

    @property
    def dropped(self) -> int:
        return self.thin + self.small + self.large


@dataclass(frozen=True)
class Selection:
    """The boxes that a rule lets through.

    places: (N, 2) image id and row in that image's labels of each, image after image.
    """

    places: NDArray[np.int64]
    counts: BoxCounts


def select(labels: LabelFile, rule: BoxRule) -> Selection:
    """Apply `rule` to every box of a label file.

    Areas are computed from the float32 corners of the label file, so that a limit is exact for boxes in
    whole pixels.
    """
    places = [np.zeros((0, 2), dtype=np.int64)]
    counts = np.zeros(4, dtype=np.int64)
    for image_id, image in labels.images.items():
        problems = rule.problems(image.boxes)
        rows = np.flatnonzero(problems == 0)
        places.append(np.stack([np.full_like(rows, image_id), rows], axis=1))
        counts += np.bincount(problems, minlength=4)
    return Selection(np.concatenate(places), BoxCounts(*counts.tolist()))
