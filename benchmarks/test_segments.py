"""Over-segmentation on bsds-mini (481 x 321, one thread): the table of scores, and CPU time against higra's.

Run with `-s` to see them; see benchmarks/README.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import cv2
import higra
import numpy as np
import pytest

from benchmarks.measuring import ROOT
from pipeline.evaluation.segmentation_scores import Summary
from pipeline.params.segments import AtCount
from pipeline.priors.contours import ContourMap
from pipeline.priors.hierarchies import build_hierarchy
from pipeline.priors.oversegmentation import cut
from tests.bsds_mini import (
    AREA,
    MEAN_BOUNDARY,
    ORIENTED,
    VOLUME,
    built_in,
    gradient,
    hierarchy,
    images,
    learnt,
    summary,
)

FOLDER = ROOT.parent / "shared" / "data" / "bsds-mini" / "test"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs the reference material in ../shared")

DETECTORS: dict[str, Callable[[np.ndarray], ContourMap]] = {
    "gradient": gradient,
    "built-in": lambda image: built_in(image, 0.0),
    "built-in, spectral": lambda image: built_in(image, 0.2),
}
ROWS: list[tuple[str, dict[str, Any]]] = [
    ("gradient", ORIENTED),
    ("gradient", AREA),
    ("built-in", ORIENTED),
    ("built-in", VOLUME),
    ("built-in, spectral", ORIENTED),
    ("built-in, spectral", VOLUME),
    ("learnt", MEAN_BOUNDARY),
    ("learnt", VOLUME),
]


@pytest.mark.parametrize(("detector", "kind"), ROWS)
def test_scores(detector: str, kind: dict[str, Any]) -> None:
    """Prints them, with the seconds per image."""
    cv2.setNumThreads(1)
    spent = 0.0
    if detector == "learnt":
        contours = learnt(FOLDER)
    else:
        pictures = list(images(FOLDER))
        spent, contours = _timed(lambda: [DETECTORS[detector](image) for image in pictures])
    rule = hierarchy(kind)
    trees, _ = _timed(lambda: [build_hierarchy(each, rule) for each in contours])
    seconds = (spent + trees) / len(contours)
    print(f"\n{detector}, {kind['kind']}: {_row(summary(FOLDER, contours, kind))}, {seconds:.2f} s")


@pytest.mark.parametrize(("kind", "most"), [(MEAN_BOUNDARY, 1.4), (ORIENTED, 2.0), (VOLUME, 1.0)])
def test_regions_of_given_contours_against_higra(kind: dict[str, Any], most: float) -> None:
    """From contour maps to a hundred regions; without orientations, higra does less than `oriented`."""
    contours = learnt(FOLDER)
    rule = hierarchy(kind)
    at_count = AtCount(kind="count", count=100)
    ours = sum(_least(lambda each=each: cut(build_hierarchy(each, rule), at_count, 255)) for each in contours)
    theirs = sum(_least(lambda each=each: _by_higra(each, kind["kind"])) for each in contours)
    print(
        f"\n{kind}: {ours / len(contours):.3f} s, higra {theirs / len(contours):.3f} s, {ours / theirs:.2f}"
    )
    assert ours / theirs < most


def _by_higra(contours: ContourMap, kind: str) -> Any:
    pixels = higra.get_4_adjacency_graph(contours.strength.shape)
    weights = higra.weight_graph(pixels, contours.strength, higra.WeightFunction.mean)
    if kind == "volume":
        tree, levels = higra.watershed_hierarchy_by_volume(pixels, weights)
    else:
        tree, levels = higra.mean_pb_hierarchy(pixels, weights, contours.strength.shape)
    return higra.labelisation_horizontal_cut_from_num_regions(tree, levels, 100)


def _least(work: Callable[[], Any]) -> float:
    """CPU seconds, the least of three calls."""
    seconds = []
    for _ in range(3):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def _timed(work: Callable[[], list[Any]]) -> tuple[float, list[Any]]:
    start = time.process_time()
    made = work()
    return time.process_time() - start, made


def _row(found: Summary) -> str:
    asa = " / ".join(f"{each.asa:.3f}" for each in found.at_count.values())
    return (
        f"covering {found.covering_ods:.3f} / {found.covering_ois:.3f}, PRI {found.rand_ods:.3f},"
        f" F {found.boundary_f_ods:.3f} / {found.boundary_f_ois:.3f}, ASA {asa}"
    )
