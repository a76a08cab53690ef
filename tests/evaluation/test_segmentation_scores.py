"""Scores of hierarchies: by hand on small images, and the stored reference's row on bsds-mini."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.data.ultrametric import UltrametricMap
from pipeline.errors import UserError
from pipeline.evaluation.segmentation_scores import Drawn, pooled_levels, score_image, summarise

HALVES = np.repeat([[1, 2]], 4, axis=0).repeat(4, axis=1).astype(np.uint16)  # (4, 8)


def drawn(*segmentations: np.ndarray) -> Drawn:
    boundaries = [np.pad(np.diff(s.astype(int), axis=1) != 0, ((0, 0), (0, 1))) for s in segmentations]
    return Drawn(np.stack(segmentations), np.stack(boundaries))


def scores_of(labels: np.ndarray, *segmentations: np.ndarray):
    return score_image(UltrametricMap.of_labels(labels), drawn(*segmentations), np.array([0.5]))


def test_the_drawn_regions_themselves_are_perfect() -> None:
    found = scores_of(HALVES, HALVES)
    assert found.segments.tolist() == [2]
    for values in (found.covering, found.rand, found.asa, found.right / found.found):
        assert values.tolist() == [1.0]
    assert found.undersegmentation.tolist() == [0.0]
    assert found.recalled.tolist() == [found.drawn] == [4.0]
    assert found.best == 1.0


def test_one_region_for_two() -> None:
    found = scores_of(np.zeros((4, 8), np.uint16), HALVES)
    assert found.covering.tolist() == found.asa.tolist() == [0.5]
    # 16 + 16 of the pixels: both overlaps have half of the segment beyond them.
    assert found.undersegmentation.tolist() == [1.0]
    assert found.rand[0] == pytest.approx(2 * 120 / 496)  # pairs inside the halves, of all pairs
    assert found.found.tolist() == found.recalled.tolist() == [0.0]


def test_means_over_people_who_disagree() -> None:
    whole = np.ones((4, 8), np.uint16)
    found = scores_of(HALVES, HALVES, whole)
    assert found.covering.tolist() == [0.75]
    assert found.asa.tolist() == [1.0]
    assert found.rand[0] == pytest.approx((1 + 2 * 120 / 496) / 2)


def test_a_boundary_pixel_is_right_within_the_tolerance() -> None:
    truth = np.repeat(np.repeat([[1, 2]], 100, axis=1), 150, axis=0).astype(np.uint16)  # d = 1.875
    near, far = np.roll(truth, 1, axis=1), np.roll(truth, 2, axis=1)
    near[:, 0], far[:, :2] = 1, 1
    assert scores_of(near, truth).right.tolist() == [150.0]
    assert scores_of(far, truth).right.tolist() == [0.0]
    assert scores_of(far, truth).recalled.tolist() == [0.0]


def test_scales_of_images_are_their_own_or_common() -> None:
    """Two images that are right at different levels: only OIS is perfect."""
    strong = UltrametricMap.of_labels(HALVES)
    weak = UltrametricMap(strong.right * np.float32(0.3), strong.down)
    noisy = UltrametricMap(np.maximum(strong.right, np.float32(0.4)), strong.down + np.float32(0.4))
    levels = np.array([0.2, 0.5])
    summary = summarise([score_image(each, drawn(HALVES), levels) for each in (weak, noisy)], counts=(2,))
    assert summary.covering_ois == summary.covering_best == summary.boundary_f_ois == 1.0
    assert summary.covering_ods == pytest.approx(0.75)
    assert summary.at_count[2].segments == 2.0
    assert summary.at_count[2].asa == summary.at_count[2].boundary_recall == 1.0


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match="drawings of"):
        scores_of(HALVES[:3], HALVES)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", count=1)
    np.savez(tmp_path / "whole.npz", count=1, shape=np.zeros(2000))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:900])
    for name, problem in (
        ("x.npz", "does not hold drawn segmentations"),
        ("cut.npz", "does not hold drawn segmentations"),
        ("gone.npz", "file not found"),
    ):
        with pytest.raises(UserError, match=problem) as caught:
            Drawn.read(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_stored_hierarchies_have_the_row_of_the_specification(shared_data: Path) -> None:
    """gPb-owt-ucm: within .002, as the row's levels are not known to the last one."""
    folder = shared_data / "data" / "bsds-mini" / "test"
    names = (folder / "list.txt").read_text().split()
    maps = []
    for name in names:
        with np.load(folder / "ucm" / f"{name}.npz", allow_pickle=False) as file:
            maps.append(UltrametricMap(file["edge_right"], file["edge_down"]))
            np.testing.assert_array_equal(maps[-1].corners(), file["corner"])
    levels = pooled_levels(maps)
    images = [
        score_image(each, Drawn.read(folder / "groundtruth" / f"{name}.npz"), levels)
        for name, each in zip(names, maps, strict=True)
    ]
    found = summarise(images)
    row = (found.covering_ods, found.covering_ois, found.rand_ods, found.boundary_f_ods, found.boundary_f_ois)
    np.testing.assert_allclose(row, (0.610, 0.652, 0.856, 0.783, 0.808), atol=0.001)
    at = found.at_count.values()
    np.testing.assert_allclose([each.asa for each in at], (0.918, 0.942, 0.957), atol=0.0015)
    np.testing.assert_allclose([each.undersegmentation for each in at], (0.160, 0.114, 0.086), atol=0.0015)
