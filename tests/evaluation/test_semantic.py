"""Figures of label maps against IoU class by class, and their intervals against resamples by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import params
from pipeline.data.label_codes import VOID
from pipeline.errors import UserError
from pipeline.evaluation.intervals import resample_images
from pipeline.evaluation.semantic import (
    evaluate_semantic,
    image_quality,
    seed_figures,
    summarise_semantic,
    weighted_ious,
)
from pipeline.evaluation.semantic_comparison import compare_semantic
from pipeline.evaluation.semantic_counts import MapCounts, SemanticCounts
from tests.evaluation.semantic_packs import NAMES, pack, scenes, worse

SETTINGS = params.EvaluateSemantic(
    boundary_dilation=0.02, bootstrap_samples=100, bootstrap_seed=3, processes=1
)

Maps = dict[int, np.ndarray]


def jaccard(truth: Maps, found: Maps) -> dict[str, float | None]:
    """IoU in percent of the classes over all images, by sets of pixels; None where the truth has none."""
    ious: dict[str, float | None] = {}
    for index, name in enumerate(NAMES):
        inside = sum(int(((truth[i] == index) & (found[i] == index)).sum()) for i in truth)
        either = sum(
            int((((truth[i] == index) | (found[i] == index)) & (truth[i] != VOID)).sum()) for i in truth
        )
        occurs = any((labels == index).any() for labels in truth.values())
        ious[name] = 100 * inside / either if occurs else None
    return ious


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Six images without a bus, a prediction, and one that a CRF made better."""
    folder = tmp_path_factory.mktemp("semantic")
    truth, found = scenes(4)
    found[min(found)][:2] = 4  # a bus that is not there
    rng = np.random.default_rng(0)
    refined = {image: worse(rng, labels, 4, 0.1) for image, labels in truth.items()}
    maps = {"truth": truth, "found": found, "refined": refined}
    packs = {name: pack(folder / name, own) for name, own in maps.items()}
    metrics, counts = evaluate_semantic(packs["truth"], packs["found"], packs["refined"], SETTINGS)
    return {"maps": maps, "packs": packs, "metrics": metrics, "counts": counts}


def test_figures_are_those_of_sets_of_pixels(case: dict[str, Any]) -> None:
    truth, metrics = case["maps"]["truth"], case["metrics"]
    for found, figures in ((case["maps"]["found"], metrics), (case["maps"]["refined"], metrics["crf"])):
        wanted = jaccard(truth, found)
        known = [value for value in wanted.values() if value is not None]
        assert len(known) == 4
        assert figures["per_class"]["IoU"] == {name: pytest.approx(value) for name, value in wanted.items()}
        assert figures["mIoU"] == pytest.approx(np.mean(known))
        assert figures["mIoU_strict"] == pytest.approx(sum(known) / 5)
        right = sum(int((truth[i] == found[i]).sum()) for i in truth)
        assert figures["pixel_accuracy"] == pytest.approx(100 * right / metrics["pixels"])
    assert metrics["pixels"] == sum(int((labels != VOID).sum()) for labels in truth.values())
    assert metrics["crf_gain"] == pytest.approx(metrics["crf"]["mIoU"] - metrics["mIoU"])
    assert metrics["crf_gain"] > 0
    json.dumps(metrics, allow_nan=False)


def test_a_class_without_ground_truth_is_named(case: dict[str, Any]) -> None:
    assert case["metrics"]["not_computed"] == ["IoU of bus: no pixel of it in the ground truth"]
    assert case["metrics"]["per_class"]["boundary_IoU"]["bus"] is None


def test_classes_without_ground_truth_are_named_in_one_line(tmp_path: Path) -> None:
    truth = pack(tmp_path / "truth", {1: np.full((4, 4), 2, np.uint8)}, ["road", "car", "sky", "bus"])
    metrics, _ = evaluate_semantic(truth, truth, None, SETTINGS)
    assert metrics["not_computed"] == ["IoU of road, car and bus: no pixel of them in the ground truth"]


def test_the_truth_itself_is_perfect(case: dict[str, Any], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    perfect = {image: worse(rng, labels, 4, 0.0) for image, labels in case["maps"]["truth"].items()}
    metrics, counts = evaluate_semantic(
        case["packs"]["truth"], pack(tmp_path / "own", perfect), None, SETTINGS
    )
    assert (metrics["mIoU"], metrics["boundary_mIoU"], metrics["pixel_accuracy"]) == (100, 100, 100)
    assert metrics["interval"] == {"mIoU": [100, 100], "boundary_mIoU": [100, 100]}
    assert "crf" not in metrics
    assert set(image_quality(counts).values()) == {100.0}


def test_intervals_are_those_of_images_drawn_by_hand(case: dict[str, Any]) -> None:
    counts: SemanticCounts = case["counts"]
    weights = resample_images(len(counts.image_ids), 100, 3)
    figures = seed_figures({0: counts}, weights)
    for sample in range(0, 100, 25):
        rows = np.repeat(np.arange(len(weights)), weights[:, sample])
        again = SemanticCounts(
            np.arange(len(rows)),
            MapCounts(counts.plain.confusion[rows], counts.plain.boundary[rows]),
            None,
        )
        once = seed_figures({0: again}, np.ones((len(rows), 1), np.int32))
        assert figures["mIoU"][sample] == pytest.approx(once["mIoU"][0])
        assert figures["boundary_mIoU"][sample] == pytest.approx(once["boundary_mIoU"][0])
    for name, values in figures.items():
        wanted = np.quantile(values, [0.025, 0.975])
        assert case["metrics"]["interval"][name] == pytest.approx(wanted)
    assert set(figures) == {"mIoU", "boundary_mIoU", "mIoU_crf", "boundary_mIoU_crf", "crf_gain"}


def test_a_class_that_a_resample_lacks_is_left_out_of_its_mean() -> None:
    confusion = np.zeros((2, 2, 2), np.int64)
    confusion[0] = [[10, 0], [0, 0]]
    confusion[1] = [[5, 5], [0, 10]]
    counts = MapCounts(confusion, np.ones((2, 2, 2), np.int64))
    ious, _ = weighted_ious(counts, np.array([[2, 1], [0, 1]], np.int32))
    np.testing.assert_allclose(ious, [[100, np.nan], [75, 100 * 10 / 15]])
    figures = seed_figures({0: SemanticCounts(np.arange(2), counts, None)}, np.array([[2], [0]], np.int32))
    assert figures["mIoU"].tolist() == [100.0]


def test_quality_of_an_image_is_over_its_own_classes() -> None:
    confusion = np.zeros((3, 2, 2), np.int64)
    confusion[0] = [[3, 1], [0, 0]]
    confusion[1] = [[2, 0], [2, 4]]
    counts = MapCounts(confusion, np.zeros((3, 2, 2), np.int64))
    quality = image_quality(SemanticCounts(np.array([5, 8, 9]), counts, None))
    assert quality == {5: pytest.approx(75), 8: pytest.approx((50 + 100 * 4 / 6) / 2)}  # 9 is void alone


def test_without_any_ground_truth_there_are_no_figures(tmp_path: Path) -> None:
    void = {1: np.full((5, 6), VOID, np.uint8)}
    made = pack(tmp_path / "p", {1: np.zeros((5, 6), np.uint8)})
    metrics, _ = evaluate_semantic(pack(tmp_path / "t", void), made, None, SETTINGS)
    assert (metrics["mIoU"], metrics["mIoU_strict"], metrics["pixel_accuracy"]) == (None, None, None)
    assert metrics["interval"] == {"mIoU": None, "boundary_mIoU": None}


def test_predictions_of_other_classes_are_told(case: dict[str, Any], tmp_path: Path) -> None:
    other = pack(tmp_path / "p", case["maps"]["found"], [*NAMES[:-1], "tram"])
    with pytest.raises(UserError, match=r"is of the classes .*tram, not .*bus"):
        evaluate_semantic(case["packs"]["truth"], other, None, SETTINGS)


def test_seeds_are_averaged_and_their_interval_is_of_the_mean(case: dict[str, Any]) -> None:
    packs = case["packs"]
    other, counts = evaluate_semantic(packs["truth"], packs["refined"], packs["refined"], SETTINGS)
    summary = summarise_semantic({0: case["metrics"], 1: other}, {0: case["counts"], 1: counts}, SETTINGS)
    each = [case["metrics"]["mIoU"], other["mIoU"]]
    assert summary["mIoU"] == pytest.approx(np.mean(each))
    assert summary["seeds"]["mIoU"] == {"0": pytest.approx(each[0]), "1": pytest.approx(each[1])}
    assert summary["seeds"]["std"] == pytest.approx(np.std(each, ddof=1))
    low, high = summary["interval"]["mIoU"]
    assert low <= summary["mIoU"] <= high
    alone = summarise_semantic({0: case["metrics"]}, {0: case["counts"]}, SETTINGS)
    assert alone["interval"] == case["metrics"]["interval"]
    assert alone["per_seed"] == {"0": case["metrics"]}


def test_runs_are_compared_on_the_same_draws(case: dict[str, Any]) -> None:
    packs = case["packs"]
    _, oracle = evaluate_semantic(packs["truth"], packs["refined"], None, SETTINGS)
    runs = {"oracle": {0: oracle}, "weak": {0: case["counts"]}}
    compared = compare_semantic(runs, {"oracle": "oracle", "weak": "oracle"}, 100, 3)
    weak = compared["runs"]["weak"]
    kept = 100 * case["metrics"]["mIoU"] / compared["runs"]["oracle"]["mIoU"]
    assert weak["retention"]["value"] == pytest.approx(kept)
    low, high = weak["retention"]["interval"]
    assert low < kept < high < 100
    assert compared["runs"]["oracle"]["retention"]["value"] == 100
    assert weak["retention_crf"]["reason"] == "its oracle oracle was not evaluated, or has no mIoU_crf"
    assert compared["runs"]["oracle"]["retention_crf"]["reason"] == "it has no mIoU_crf"
    (difference,) = compared["differences"]
    assert difference["mIoU"] > 0
    assert difference["within_noise"] is False
    assert compared["crf_differences"] == []
    same = compare_semantic({"a": {0: oracle}, "b": {0: oracle}}, {"a": "none", "b": "a"}, 100, 3)
    assert same["differences"][0]["interval"] == [0, 0]
    json.dumps(compared, allow_nan=False)


def test_runs_on_other_images_are_told(case: dict[str, Any]) -> None:
    counts: SemanticCounts = case["counts"]
    moved = SemanticCounts(counts.image_ids + 1, counts.plain, counts.crf)
    with pytest.raises(UserError, match="other images than a"):
        compare_semantic({"a": {0: counts}, "b": {0: moved}}, {"a": "none", "b": "none"}, 100, 0)
