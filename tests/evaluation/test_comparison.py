"""Retention, differences and spread over seeds."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.evaluation.coco import evaluate_coco
from pipeline.evaluation.comparison import compare
from pipeline.evaluation.intervals import resample_images, weighted_ap
from pipeline.evaluation.mask_iou import object_mask_iou
from pipeline.evaluation.matches import Matches, match, without_detections
from pipeline.evaluation.retention import retention


def made(scene: Any, kept: float, seed: int = 0) -> Matches:
    """Matches of a run that finds a share `kept` of the scene's detections."""
    annotations, detections, in_boxes = scene
    rng = np.random.default_rng(seed)
    found = [detection for detection in detections if rng.random() < kept]
    evaluation = evaluate_coco(annotations, found, "mask", 100)
    return match(evaluation, annotations, found, 100, object_mask_iou(annotations, in_boxes))


@pytest.fixture(scope="module")
def runs(make_scene: Any) -> dict[str, dict[int, Matches]]:
    scene = make_scene(11, images=40, crowds=False)
    return {
        "oracle": {0: made(scene, 1.0)},
        "weak": {0: made(scene, 0.7, 0), 1: made(scene, 0.8, 1)},
        "poor": {0: made(scene, 0.3)},
    }


@pytest.fixture(scope="module")
def comparison(runs: Any) -> dict[str, Any]:
    return compare(runs, {"oracle": "oracle", "weak": "oracle", "poor": "none"}, 200, 5)


def test_means_over_seeds_and_their_spread(runs: Any, comparison: dict[str, Any]) -> None:
    ones = np.ones((40, 1), np.int32)
    each = [weighted_ap(matches, ones).mean() for matches in runs["weak"].values()]
    row = comparison["runs"]["weak"]
    assert row["AP"] == pytest.approx(np.mean(each))
    assert row["seeds"]["AP"] == {"0": pytest.approx(each[0]), "1": pytest.approx(each[1])}
    assert row["seeds"]["min"] == pytest.approx(min(each))
    assert row["seeds"]["max"] == pytest.approx(max(each))
    assert row["seeds"]["std"] == pytest.approx(np.std(each, ddof=1))
    assert comparison["runs"]["oracle"]["seeds"]["std"] is None


def test_intervals_are_of_the_mean_over_seeds_and_paired(runs: Any, comparison: dict[str, Any]) -> None:
    weights = resample_images(40, 200, 5)
    drawn = {
        run: np.mean([weighted_ap(m, weights).mean(axis=1) for m in seeds.values()], axis=0)
        for run, seeds in runs.items()
    }
    row = comparison["runs"]["weak"]
    assert row["interval"]["AP"] == pytest.approx(np.quantile(drawn["weak"], [0.025, 0.975]))
    ratio = 100 * drawn["weak"] / drawn["oracle"]
    assert row["retention"]["interval"] == pytest.approx(np.quantile(ratio, [0.025, 0.975]))
    assert row["retention"]["value"] == pytest.approx(100 * row["AP"] / comparison["runs"]["oracle"]["AP"])
    pair = next(d for d in comparison["differences"] if (d["a"], d["b"]) == ("oracle", "weak"))
    assert pair["interval"] == pytest.approx(np.quantile(drawn["oracle"] - drawn["weak"], [0.025, 0.975]))


def test_pairing_narrows_the_interval_of_a_difference(comparison: dict[str, Any]) -> None:
    pair = next(d for d in comparison["differences"] if (d["a"], d["b"]) == ("oracle", "weak"))
    low, high = pair["interval"]
    widths = [np.ptp(comparison["runs"][run]["interval"]["AP"]) for run in ("oracle", "weak")]
    assert high - low < np.hypot(*widths)


def test_only_clear_differences_are_outside_of_noise(runs: Any, comparison: dict[str, Any]) -> None:
    assert len(comparison["differences"]) == 3
    far = next(d for d in comparison["differences"] if (d["a"], d["b"]) == ("oracle", "poor"))
    assert far["within_noise"] is False
    same = compare({"a": runs["weak"], "b": runs["weak"]}, {"a": "none", "b": "none"}, 100, 0)
    assert same["differences"][0] | {"AP": 0.0} == {
        "a": "a",
        "b": "b",
        "AP": 0.0,
        "interval": [0, 0],
        "within_noise": True,
    }


def test_an_oracle_retains_all_by_definition(comparison: dict[str, Any]) -> None:
    assert comparison["runs"]["oracle"]["retention"] == {"value": 100.0, "interval": None, "reason": ""}


def test_undefined_retention_says_why(comparison: dict[str, Any]) -> None:
    assert comparison["runs"]["poor"]["retention"]["reason"] == "has no oracle"
    drawn = {run: np.ones(3) for run in ("a", "b")}
    for ap, oracle, reason in [
        ({"a": 3.0, "b": 0.0}, "b", "AP of its oracle b is 0"),
        ({"a": np.nan, "b": 3.0}, "b", "there are no objects"),
        ({"a": 3.0}, "c", "oracle c was not evaluated"),
    ]:
        result = retention("a", oracle, ap, drawn)
        assert (result["value"], result["interval"]) == (None, None)
        assert reason in result["reason"]


def test_retention_has_no_interval_where_the_oracle_finds_nothing_in_a_resample() -> None:
    drawn = {"a": np.asarray([1.0, 2.0]), "b": np.asarray([2.0, 0.0])}
    result = retention("a", "b", {"a": 1.5, "b": 1.0}, drawn)
    assert result == {"value": 150.0, "interval": None, "reason": ""}


@pytest.fixture(scope="module")
def mixed(runs: Any, make_scene: Any) -> dict[str, Any]:
    """The runs, and two seeds of a labeler with somewhat better and worse masks in the boxes."""
    annotations, _, in_boxes = make_scene(11, images=40, crowds=False)
    ious = object_mask_iou(annotations, in_boxes)
    labeler = {seed: without_detections(annotations, ious**power) for seed, power in ((0, 0.5), (1, 0.7))}
    oracles = {"oracle": "oracle", "weak": "oracle", "poor": "none", "labeler": "oracle"}
    return compare(runs | {"labeler": labeler}, oracles, 200, 5)


def test_masks_in_given_boxes_have_no_ap_and_say_why(mixed: dict[str, Any]) -> None:
    row = mixed["runs"]["labeler"]
    assert (row["headline"], mixed["runs"]["weak"]["headline"]) == ("mask_iou", "AP")
    assert (row["AP"], row["AP50"], row["interval"]["AP"]) == (None, None, None)
    assert row["retention"] == {
        "value": None,
        "interval": None,
        "reason": "masks in given boxes have no AP",
    }
    assert row["seeds"]["min"] < row["mask_iou"] < row["seeds"]["max"]
    assert row["mask_iou"] == pytest.approx(np.mean(list(row["seeds"]["mask_iou"].values())))
    assert "labeler" not in {pair[side] for pair in mixed["differences"] for side in "ab"}
    assert len(mixed["differences"]) == 3
    assert json.loads(json.dumps(mixed, allow_nan=False)) == mixed


def test_the_other_rows_do_not_change_beside_a_labeler(
    mixed: dict[str, Any], comparison: dict[str, Any]
) -> None:
    assert mixed["runs"].items() >= comparison["runs"].items()
    assert mixed["differences"] == comparison["differences"]


def test_mask_iou_differences_are_paired_and_between_all_rows(mixed: dict[str, Any]) -> None:
    assert len(mixed["mask_iou_differences"]) == 6
    pair = next(d for d in mixed["mask_iou_differences"] if (d["a"], d["b"]) == ("oracle", "labeler"))
    rows = mixed["runs"]
    assert pair["mask_iou"] == pytest.approx(rows["oracle"]["mask_iou"] - rows["labeler"]["mask_iou"])
    assert pair["within_noise"] is False
    same = next(d for d in mixed["mask_iou_differences"] if (d["a"], d["b"]) == ("oracle", "weak"))
    assert (same["interval"], same["within_noise"]) == ([0, 0], True)
    low, high = pair["interval"]
    widths = [np.ptp(rows[run]["interval"]["mask_iou"]) for run in ("oracle", "labeler")]
    assert high - low < np.hypot(*widths)


def test_unknown_mask_iou_makes_no_difference(runs: Any, make_scene: Any) -> None:
    annotations, _, in_boxes = make_scene(11, images=40, crowds=False)
    unknown = without_detections(annotations, np.full(len(in_boxes), np.nan))
    result = compare(runs | {"labeler": {0: unknown}}, dict.fromkeys((*runs, "labeler"), "none"), 100, 0)
    assert result["runs"]["labeler"]["mask_iou"] is None
    assert "labeler" not in {pair[side] for pair in result["mask_iou_differences"] for side in "ab"}


def test_an_oracle_that_detects_nothing_gives_no_retention() -> None:
    result = retention("a", "labeler", {"a": 3.0}, {"a": np.ones(3)})
    assert result["reason"] == "its oracle labeler was not evaluated, or has no AP"


def test_the_result_is_json(comparison: dict[str, Any]) -> None:
    assert json.loads(json.dumps(comparison, allow_nan=False)) == comparison


def test_runs_on_other_images_are_refused(runs: Any, make_scene: Any) -> None:
    other = {0: made(make_scene(0), 1.0)}
    with pytest.raises(UserError, match="weak: was evaluated on other images than oracle"):
        compare({"oracle": runs["oracle"], "weak": other}, {"oracle": "oracle", "weak": "oracle"}, 100, 0)
