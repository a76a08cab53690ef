"""The fast bootstrap equals evaluating resampled data sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation import intervals
from pipeline.evaluation.coco import evaluate_coco
from pipeline.evaluation.instances import ap_figures
from pipeline.evaluation.intervals import interval, resample_images, weighted_ap, weighted_mask_iou
from pipeline.evaluation.mask_iou import object_mask_iou
from pipeline.evaluation.matches import Matches, match


@pytest.fixture(scope="module")
def scene(make_scene: Any) -> Any:
    return make_scene(7, images=14, ties=False)


@pytest.fixture(scope="module")
def matches(scene: Any) -> Matches:
    annotations, detections, in_boxes = scene
    evaluation = evaluate_coco(annotations, detections, "mask", 100)
    return match(evaluation, annotations, detections, 100, object_mask_iou(annotations, in_boxes))


def repeated(annotations: dict[str, Any], detections: list[Any], counts: np.ndarray) -> tuple[Any, list[Any]]:
    """The data set in which image i, with all it has, occurs counts[i] times."""
    images, marks, found = [], [], []
    for image, count in zip(annotations["images"], counts, strict=True):
        for copy in range(count):
            name = {"image_id": 1000 * image["id"] + copy}
            images.append(image | {"id": name["image_id"]})
            marks += [a | name for a in annotations["annotations"] if a["image_id"] == image["id"]]
            found += [d | name for d in detections if d["image_id"] == image["id"]]
    return annotations | {"images": images, "annotations": marks}, found


@settings(max_examples=25, deadline=None)
@given(counts=st.lists(st.integers(0, 4), min_size=14, max_size=14))
def test_weights_equal_repeated_images(scene: Any, matches: Matches, counts: list[int]) -> None:
    annotations, detections, _ = scene
    truth, found = repeated(annotations, detections, np.asarray(counts))
    ours = weighted_ap(matches, np.asarray(counts, np.int32)[:, None])[0]
    wanted = ap_figures(evaluate_coco(truth, found, "mask", 100))
    if wanted["AP"] is None:
        assert np.isnan(ours).all()
    else:
        assert ours.mean() == pytest.approx(wanted["AP"], abs=1e-9)
        assert ours[0] == pytest.approx(wanted["AP50"], abs=1e-9)


def test_chunks_do_not_change_the_result(matches: Matches, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = resample_images(14, 50, 0)
    whole = weighted_ap(matches, weights)
    monkeypatch.setattr(intervals, "CHUNK_VALUES", 100)
    np.testing.assert_array_equal(weighted_ap(matches, weights), whole)
    assert np.unique(whole.mean(axis=1)).size > 40


def test_resamples_are_paired_and_draw_every_image_as_often() -> None:
    weights = resample_images(40, 2000, 3)
    assert (weights.sum(axis=0) == 40).all()
    np.testing.assert_array_equal(weights, resample_images(40, 2000, 3))
    assert (weights != resample_images(40, 2000, 4)).any()
    np.testing.assert_allclose(weights.mean(axis=1), 1, atol=0.1)
    np.testing.assert_allclose(weights.var(axis=1), 1, atol=0.2)


def test_a_bootstrap_in_portions_is_that_of_all_resamples(
    matches: Matches, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, sizes = resample_images(14, 50, 1), []
    monkeypatch.setattr(intervals, "PORTION_VALUES", 14 * 35)

    def figures(portion: intervals.Weights) -> intervals.Floats:
        sizes.append(portion.shape)
        return np.stack([weighted_mask_iou(matches, portion), np.arange(14) @ portion])

    iou, draws = intervals.bootstrap(figures, 14, 50, 1)
    assert sizes == [(14, 32), (14, 18)]
    np.testing.assert_array_equal(draws, np.arange(14) @ weights)
    np.testing.assert_allclose(iou, weighted_mask_iou(matches, weights), rtol=1e-14)


def test_a_bootstrap_without_images_has_figures_of_nothing() -> None:
    found = intervals.bootstrap(lambda weights: weights.sum(axis=0).astype(float), 0, 20, 0)
    np.testing.assert_array_equal(found, np.zeros(20))


def test_mean_mask_iou_weighs_objects_by_their_image(matches: Matches) -> None:
    weights = resample_images(14, 3, 1)
    for sample, value in enumerate(weighted_mask_iou(matches, weights)):
        each = np.repeat(matches.object_iou, weights[matches.object_image, sample])
        assert value == pytest.approx(100 * each.mean())


def test_interval_of_a_known_distribution() -> None:
    assert interval(np.arange(1001.0)) == pytest.approx([25, 975])
    assert interval(np.asarray([1.0, np.nan])) is None
    assert interval(np.empty(0)) is None


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """AP50 of one detection per image, right with probability .7: 200 experiments of 80 images."""
    rng = np.random.default_rng(0)
    weights = resample_images(80, 200, 0)
    values, limits = [], []
    for _ in range(200):
        hit = rng.random(80) < 0.7
        order = rng.permutation(80).astype(np.int32)
        nobody = np.zeros(80, np.int32)
        one = Matches(
            np.arange(80),
            np.arange(1),
            order,
            nobody,
            np.linspace(1, 0, 80),
            np.repeat(hit[order, None], 10, axis=1),
            np.zeros((80, 10), bool),
            np.arange(80, dtype=np.int32),
            nobody,
            np.zeros(80),
            np.asarray(True),
        )
        values.append(weighted_ap(one, np.ones((80, 1), np.int32))[0, 0])
        limits.append(interval(weighted_ap(one, weights)[:, 0]) or (0, 0))
    covered = [low <= np.mean(values) <= high for low, high in limits]
    assert 0.88 <= np.mean(covered) <= 0.99
