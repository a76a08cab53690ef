"""Matches hold all that AP needs, and survive their file."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.evaluation.coco import evaluate_coco
from pipeline.evaluation.instances import ap_figures
from pipeline.evaluation.intervals import weighted_ap, weighted_mask_iou
from pipeline.evaluation.matches import Matches, match, without_detections
from pipeline.evaluation.results import objects


def made(scene: Any, limit: int = 100, kind: Any = "mask") -> tuple[Matches, dict[str, float | None]]:
    annotations, detections, _ = scene
    evaluation = evaluate_coco(annotations, detections, kind, limit)
    unknown = np.full(len(objects(annotations)), np.nan)
    return match(evaluation, annotations, detections, limit, unknown), ap_figures(evaluation)


@pytest.mark.parametrize("kind", ["mask", "box", "boundary"])
@pytest.mark.parametrize("limit", [2, 100])
@pytest.mark.parametrize("seed", range(4))
def test_ap_of_the_matches_is_the_evaluators(make_scene: Any, kind: Any, limit: int, seed: int) -> None:
    matches, figures = made(make_scene(seed, images=15, most=10), limit, kind)
    ap = weighted_ap(matches, np.ones((15, 1), np.int32))[0]
    assert ap.mean() == pytest.approx(figures["AP"], abs=1e-9)
    assert ap[0] == pytest.approx(figures["AP50"], abs=1e-9)
    assert ap[5] == pytest.approx(figures["AP75"], abs=1e-9)


def test_equal_overlaps_are_matched_as_coco_does(make_scene: Any) -> None:
    """Objects and detections that occur twice: which of them is taken decides what is left."""
    annotations, detections, boxes = make_scene(5)
    twice = [*annotations["annotations"], *({**a, "id": 1000 + a["id"]} for a in annotations["annotations"])]
    matches, figures = made((annotations | {"annotations": twice}, [*detections, *detections], boxes))
    assert weighted_ap(matches, np.ones((12, 1), np.int32)).mean() == pytest.approx(figures["AP"], abs=1e-9)


def test_without_detections_and_without_objects(make_scene: Any) -> None:
    annotations, detections, _ = make_scene(0)
    ones = np.ones((12, 1), np.int32)
    matches, _ = made((annotations, [], []))
    assert weighted_ap(matches, ones).tolist() == [[0.0] * 10]
    matches, _ = made((annotations | {"annotations": []}, detections, []))
    assert np.isnan(weighted_ap(matches, ones)).all()


def test_detecting_nothing_at_all_is_not_finding_nothing(make_scene: Any) -> None:
    scene = make_scene(3)
    ious = np.linspace(0, 1, len(objects(scene[0])))
    detecting, _ = made(scene)
    matches = without_detections(scene[0], ious)
    for name in ("image_ids", "category_ids", "object_image", "object_category"):
        np.testing.assert_array_equal(getattr(matches, name), getattr(detecting, name))
        assert getattr(matches, name).dtype == getattr(detecting, name).dtype
    ones = np.ones((12, 1), np.int32)
    assert np.isnan(weighted_ap(matches, ones)).all()
    assert weighted_mask_iou(matches, ones)[0] == pytest.approx(100 * ious.mean())
    assert (matches.headline, detecting.headline) == ("mask_iou", "AP")


@pytest.mark.parametrize("detects", [True, False])
def test_file_round_trip_with_equal_bytes(make_scene: Any, tmp_path: Path, detects: bool) -> None:
    scene = make_scene(1)
    matches = made(scene)[0] if detects else without_detections(scene[0], np.ones(len(objects(scene[0]))))
    matches.save(tmp_path / "a.npz")
    Matches.load(tmp_path / "a.npz").save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    loaded = Matches.load(tmp_path / "a.npz")
    for item in fields(Matches):
        before, after = getattr(matches, item.name), getattr(loaded, item.name)
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(before, after)


def test_other_files_are_refused_in_one_line(make_scene: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="file not found"):
        Matches.load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no zip")
    np.savez(tmp_path / "other.npz", image_ids=np.arange(3))
    matches, _ = made(make_scene(1))
    replace(matches, image_ids=matches.image_ids).save(tmp_path / "cut.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:-100])
    for name in ("text", "other", "cut"):
        with pytest.raises(UserError, match="does not hold matches"):
            Matches.load(tmp_path / f"{name}.npz")
