"""What the specification asks of over-segmentations, on the 20 test images of bsds-mini."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.evaluation.segmentation_scores import Summary
from pipeline.priors.contours import ContourMap
from tests.bsds_mini import ORIENTED, VOLUME, built_in, images, learnt, summary

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    return shared_data / "data" / "bsds-mini" / "test"


@pytest.fixture(scope="module")
def contours(folder: Path) -> list[ContourMap]:
    return [built_in(image, spectral=0.2) for image in images(folder)]


def at_counts(found: Summary) -> list[float]:
    return [each.asa for each in found.at_count.values()]


def undersegmentation(found: Summary) -> list[float]:
    return [each.undersegmentation for each in found.at_count.values()]


def test_built_in_contours_beat_the_lab_gradient_in_every_column(
    folder: Path, contours: list[ContourMap]
) -> None:
    """The gradient has .513/.571, .820, .677/.726; gPb-owt-ucm .610/.652, .856, .783/.808."""
    found = summary(folder, contours, ORIENTED)
    assert found.covering_ods > 0.600
    assert found.covering_ois > 0.630
    assert found.rand_ods > 0.840
    assert found.boundary_f_ods > 0.760
    assert found.boundary_f_ois > 0.790


def test_volumes_of_built_in_contours_beat_the_lab_gradient_at_every_count(
    folder: Path, contours: list[ContourMap]
) -> None:
    found = summary(folder, contours, VOLUME)
    assert (np.array(at_counts(found)) > (0.926, 0.943, 0.957)).all()
    assert (np.array(undersegmentation(found)) < (0.147, 0.112, 0.085)).all()


@pytest.mark.parametrize(
    ("kind", "row", "asa"),
    [
        ({"kind": "mean_boundary", "oriented": False}, (0.658, 0.696, 0.872, 0.843, 0.864), None),
        (VOLUME, (0.640, 0.681, 0.862, 0.803, 0.827), (0.958, 0.964, 0.967)),
    ],
)
def test_learnt_maps_have_the_rows_of_the_specification(
    folder: Path, kind: dict[str, Any], row: tuple[float, ...], asa: tuple[float, ...] | None
) -> None:
    found = summary(folder, learnt(folder), kind)
    scores = (found.covering_ods, found.covering_ois, found.rand_ods)
    np.testing.assert_allclose((*scores, found.boundary_f_ods, found.boundary_f_ois), row, atol=0.0015)
    if asa:
        np.testing.assert_allclose(at_counts(found), asa, atol=0.001)
