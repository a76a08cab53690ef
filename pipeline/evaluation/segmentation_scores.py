"""Scores of a hierarchy of regions against what several people drew (BSDS-500).

Covering and boundary F follow Arbelaez et al. (TPAMI 2011), the F without their one-to-one matching; the
probabilistic Rand index Unnikrishnan et al. (TPAMI 2007); achievable segmentation accuracy (ASA) and
undersegmentation error Stutz et al. (CVIU 2018).  Regions are counted once, in a table of base regions
against drawn regions; a level of the hierarchy adds rows of that table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

from pipeline.data.ultrametric import RegionTree, UltrametricMap, ranked
from pipeline.errors import UserError
from pipeline.files import read_arrays

Floats = NDArray[np.float64]

LEVELS = 99
TOLERANCE = 0.0075  # of the image diagonal: how far a boundary pixel may lie from one that it finds


@dataclass(frozen=True)
class Drawn:
    """What the annotators of an image drew.

    segmentations: (annotators, h, w) labels; boundaries: (annotators, h, w) bool.
    """

    segmentations: NDArray[np.uint16]
    boundaries: NDArray[np.bool_]

    @classmethod
    def read(cls, path: Path) -> Drawn:
        """An npz of bsds-mini.  Raises UserError when it is missing or is none."""
        file = read_arrays(path, "drawn segmentations")
        try:
            height, width = (int(side) for side in file["shape"])
            people = range(int(file["count"]))
            packed = [np.unpackbits(file[f"boundary_{index}"]) for index in people]
            return cls(
                np.stack([file[f"segmentation_{index}"] for index in people]),
                np.stack([bits[: height * width].reshape(height, width) > 0 for bits in packed]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                path, "", f"does not hold drawn segmentations: {error}", "copy it again"
            ) from None


@dataclass(frozen=True)
class ImageScores:
    """Scores of one image at L levels; all arrays are (L,), shares in [0, 1].

    segments: count; right, found: predicted boundary pixels near a drawn one, and all predicted; recalled,
    drawn: drawn boundary pixels near a predicted one, and all drawn; best: covering by the best segments of
    all levels.
    """

    segments: NDArray[np.int64]
    covering: Floats
    rand: Floats
    asa: Floats
    undersegmentation: Floats
    right: Floats
    found: Floats
    recalled: Floats
    drawn: float
    best: float


@dataclass(frozen=True)
class AtCount:
    """Means over images at the level whose count of segments is closest to the one asked for."""

    segments: float
    asa: float
    undersegmentation: float
    boundary_recall: float


@dataclass(frozen=True)
class Summary:
    """Scores of many images.  ods: at the best common level; ois: each image at its own best level."""

    covering_ods: float
    covering_ois: float
    covering_best: float
    rand_ods: float
    rand_ois: float
    boundary_f_ods: float
    boundary_f_ois: float
    at_count: dict[int, AtCount]


def pooled_levels(maps: Sequence[UltrametricMap], count: int = LEVELS) -> Floats:
    """(count,) ascending levels: quantiles of the non-zero edges of all maps together, both ends included."""
    edges = np.concatenate(
        [edges.ravel() for ultrametric in maps for edges in (ultrametric.right, ultrametric.down)]
    )
    strengths = edges[edges > 0]
    if not len(strengths):
        return np.zeros(count)
    return np.asarray(np.quantile(strengths.astype(np.float64), np.linspace(0, 1, count)))


def score_image(ultrametric: UltrametricMap, drawn: Drawn, levels: Floats) -> ImageScores:
    """Score the regions of each of the ascending levels.

    Raises ValueError when the sizes differ or levels do not ascend.
    """
    if np.any(np.diff(levels) < 0):
        raise ValueError("levels must ascend")
    if ultrametric.shape != drawn.segmentations.shape[1:]:
        raise ValueError(f"a map of {ultrametric.shape}, and drawings of {drawn.segmentations.shape[1:]}")
    tree = RegionTree.of(ultrametric)
    table, starts = _contingency(tree.labels, drawn.segmentations)
    regions = [_region_scores(merged, starts) for merged in _merged_tables(tree, table, levels)]
    best = np.max([found.overlap for found in regions], axis=0)
    sizes = table.sum(0)
    return ImageScores(
        segments=tree.counts(levels),
        covering=np.array([found.covering for found in regions]),
        rand=np.array([found.rand for found in regions]),
        asa=np.array([found.asa for found in regions]),
        undersegmentation=np.array([found.undersegmentation for found in regions]),
        best=float(best @ sizes / sizes.sum()),
        **_boundary_scores(ultrametric.corners(), drawn.boundaries, levels),
    )


def summarise(images: Sequence[ImageScores], counts: Sequence[int] = (100, 200, 400)) -> Summary:
    """Means over images; boundary pixels are summed over images before they are divided."""
    covering = np.stack([image.covering for image in images])
    rand = np.stack([image.rand for image in images])
    sums = np.array(
        [(image.right, image.found, image.recalled, image.drawn + 0 * image.right) for image in images]
    )
    own = np.array([_f(*image).argmax() for image in sums])
    return Summary(
        covering_ods=float(covering.mean(0).max()),
        covering_ois=float(covering.max(1).mean()),
        covering_best=float(np.mean([image.best for image in images])),
        rand_ods=float(rand.mean(0).max()),
        rand_ois=float(rand.max(1).mean()),
        boundary_f_ods=float(_f(*sums.sum(0)).max()),
        boundary_f_ois=float(_f(*sums[np.arange(len(own)), :, own].sum(0))),
        at_count={count: _at_count(images, count) for count in counts},
    )


def _f(right: Floats, found: Floats, recalled: Floats, drawn: Floats) -> Floats:
    """Harmonic mean of precision and recall; 0 where nothing is right."""
    precision, recall = right / np.maximum(found, 1), recalled / np.maximum(drawn, 1)
    return np.asarray(2 * precision * recall / np.maximum(precision + recall, 1e-12))


def _at_count(images: Sequence[ImageScores], count: int) -> AtCount:
    chosen = [(image, int(np.abs(image.segments - count).argmin())) for image in images]
    return AtCount(
        segments=float(np.mean([image.segments[index] for image, index in chosen])),
        asa=float(np.mean([image.asa[index] for image, index in chosen])),
        undersegmentation=float(np.mean([image.undersegmentation[index] for image, index in chosen])),
        boundary_recall=float(np.mean([image.recalled[index] / image.drawn for image, index in chosen])),
    )


class _Regions(NamedTuple):
    """Scores of one level; overlap: (drawn regions,) largest IoU with a segment."""

    overlap: Floats
    covering: float
    rand: float
    asa: float
    undersegmentation: float


def _contingency(
    labels: NDArray[np.int32], segmentations: NDArray[np.uint16]
) -> tuple[Floats, NDArray[np.int64]]:
    """(base regions, drawn regions of all annotators) shared pixels, and each annotator's first column."""
    tables = []
    for segmentation in segmentations:
        drawn = ranked(segmentation.astype(np.int64))
        columns = int(drawn.max()) + 1
        shared = np.bincount((labels * columns + drawn).ravel(), minlength=(int(labels.max()) + 1) * columns)
        tables.append(shared.reshape(-1, columns).astype(np.float64))
    starts = np.cumsum([0, *(table.shape[1] for table in tables[:-1])])
    return np.concatenate(tables, axis=1), starts


def _merged_tables(tree: RegionTree, table: Floats, levels: Floats) -> Iterator[Floats]:
    """The table's rows added up to the segments of each level; each from the one before, which is smaller."""
    first = np.arange(len(tree))  # a base region of every row
    for level in levels:
        merged = tree.merged(tree.joined(level))
        table = _merge(table, merged[first])
        first = np.unique(merged, return_index=True)[1]
        yield table


def _merge(table: Floats, merged: NDArray[np.int32]) -> Floats:
    """Add the rows of regions that are now one."""
    ones = np.ones(len(merged))
    matrix = coo_array((ones, (merged, np.arange(len(merged)))), shape=(int(merged.max()) + 1, len(merged)))
    return np.asarray(matrix.tocsr() @ table)


def _region_scores(table: Floats, starts: NDArray[np.int64]) -> _Regions:
    """table: (segments, drawn regions) shared pixels; starts: each annotator's first column."""
    people = len(starts)
    segment, drawn = table.sum(1) / people, table.sum(0)
    pixels = segment.sum()
    overlap = (table / (segment[:, None] + drawn - table)).max(0)
    unequal = (segment @ segment + np.add.reduceat(drawn**2 - 2 * (table**2).sum(0), starts)) / max(
        pixels * (pixels - 1), 1
    )
    return _Regions(
        overlap=overlap,
        covering=float(overlap @ drawn / drawn.sum()),
        rand=float(1 - unequal.mean()),
        asa=float(np.maximum.reduceat(table, starts, axis=1).sum() / (pixels * people)),
        undersegmentation=float(np.minimum(table, segment[:, None] - table).sum() / (pixels * people)),
    )


def _boundary_scores(
    corners: NDArray[np.float32], boundaries: NDArray[np.bool_], levels: Floats
) -> dict[str, Any]:
    """A pixel is found when one of the other side lies within the tolerance, whatever else that one finds."""
    disc = _disc(TOLERANCE * float(np.hypot(*corners.shape)))
    drawn = np.asarray(boundaries.any(axis=0), dtype=np.uint8)
    near_drawn = cv2.dilate(drawn, disc) > 0
    strongest_near = cv2.dilate(corners, disc)
    reached = [strongest_near[boundary] for boundary in boundaries]
    return {
        "right": _above(corners[near_drawn], levels),
        "found": _above(corners, levels),
        "recalled": _above(np.concatenate(reached), levels),
        "drawn": float(boundaries.sum()),
    }


def _disc(radius: float) -> NDArray[np.uint8]:
    reach = int(radius)
    offsets = np.arange(-reach, reach + 1)
    return (np.hypot(offsets[:, None], offsets) <= radius).astype(np.uint8)


def _above(values: NDArray[np.float32], levels: Floats) -> Floats:
    """(L,) how many of the values exceed each level."""
    ordered = np.sort(values, axis=None)
    return np.asarray(
        len(ordered) - np.searchsorted(ordered, levels.astype(np.float32), side="right"), np.float64
    )
