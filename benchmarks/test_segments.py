"""Over-segmentation on bsds-mini: CPU seconds per image (481 x 321, one thread), and the table of scores.

Run with `-s` to see the table; see benchmarks/README.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.measuring import ROOT
from pipeline.evaluation.segmentation_scores import Summary
from pipeline.priors.contours import ContourMap
from pipeline.priors.hierarchies import build_hierarchy
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
ROWS: list[tuple[str, dict[str, Any], float]] = [  # the most seconds
    ("gradient", ORIENTED, 1.0),
    ("gradient", AREA, 1.0),
    ("built-in", ORIENTED, 1.0),
    ("built-in", VOLUME, 1.0),
    ("built-in, spectral", ORIENTED, 1.0),
    ("built-in, spectral", VOLUME, 1.0),
    ("learnt", MEAN_BOUNDARY, 0.15),
    ("learnt", VOLUME, 0.25),
]


@pytest.mark.parametrize(("detector", "kind", "most"), ROWS)
def test_seconds_and_scores(detector: str, kind: dict[str, Any], most: float) -> None:
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
    assert seconds < most


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
