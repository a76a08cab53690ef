"""Counts of label maps against counts pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from pipeline.data.label_codes import UNLABELLED, VOID
from pipeline.errors import UserError
from pipeline.evaluation.semantic_counts import (
    SemanticCounts,
    boundary_band,
    boundary_overlap,
    confusion_matrix,
    count_images,
)
from tests.evaluation.semantic_packs import NAMES, blocks, pack, scenes, worse
from tests.evaluation.test_boundary import boundary

CLASSES = len(NAMES)


def one_by_one(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    counts = np.zeros((classes, classes), np.int64)
    for true, found in zip(labels.ravel().tolist(), predicted.ravel().tolist(), strict=True):
        if true < classes:
            counts[true, found] += 1
    return counts


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 9999), st.integers(1, 20), st.integers(1, 20), st.integers(1, 7))
def test_confusion_is_the_count_of_pairs(seed: int, height: int, width: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    labels = blocks(rng, classes, height, width, 2)
    labels[rng.random(labels.shape) < 0.1] = VOID
    labels[rng.random(labels.shape) < 0.1] = UNLABELLED
    predicted = worse(rng, labels, classes, 0.5)
    np.testing.assert_array_equal(
        confusion_matrix(labels, predicted, classes), one_by_one(labels, predicted, classes)
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9999), st.integers(3, 24), st.integers(3, 24), st.floats(0, 0.3))
def test_boundaries_are_those_of_each_class_by_itself(
    seed: int, height: int, width: int, dilation: float
) -> None:
    rng = np.random.default_rng(seed)
    labels = blocks(rng, CLASSES, height, width, 4)
    labels[rng.random(labels.shape) < 0.05] = VOID
    predicted = worse(rng, labels, CLASSES, 0.1)
    known = labels != VOID
    for index, (inside, either) in enumerate(boundary_overlap(labels, predicted, CLASSES, dilation).T):
        truth = boundary((labels == index) & known, dilation)
        found = boundary((predicted == index) & known, dilation)
        assert (inside, either) == ((truth & found).sum(), (truth | found).sum())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 9999), st.floats(0, 0.2))
def test_a_prediction_that_is_right_where_the_truth_is_known_has_all_of_its_boundaries(
    seed: int, dilation: float
) -> None:
    rng = np.random.default_rng(seed)
    labels = blocks(rng, CLASSES, 20, 30)
    labels[rng.random(labels.shape) < 0.3] = VOID
    inside, either = boundary_overlap(labels, worse(rng, labels, CLASSES, 0.0), CLASSES, dilation)
    np.testing.assert_array_equal(inside, either)
    np.testing.assert_array_equal(either > 0, np.bincount(labels[labels < CLASSES], minlength=CLASSES) > 0)


def test_a_map_of_one_class_has_the_edge_of_the_image_as_boundary() -> None:
    band = boundary_band(np.full((7, 9), 3, np.uint8), 2)
    assert not band[2:-2, 2:-2].any()
    assert band.sum() == 7 * 9 - 3 * 5
    assert boundary_band(np.zeros((2, 3), np.uint8), 5).all()


def test_images_are_counted_in_the_order_of_their_ids(tmp_path: Path) -> None:
    truth, found = scenes(0)
    better = {image: worse(np.random.default_rng(1), labels, 4, 0.1) for image, labels in truth.items()}
    packs = [
        pack(tmp_path / name, maps)
        for name, maps in (("t", truth), ("p", found | {999: found[min(found)]}), ("c", better))
    ]
    counts = count_images(*packs, 0.02, processes=1)
    assert counts.image_ids.tolist() == sorted(truth)
    for row, image in enumerate(sorted(truth)):
        for kind, maps in ((counts.plain, found), (counts.crf, better)):
            assert kind is not None
            pair = truth[image], maps[image]
            np.testing.assert_array_equal(kind.confusion[row], confusion_matrix(*pair, CLASSES))
            np.testing.assert_array_equal(kind.boundary[row], boundary_overlap(*pair, CLASSES, 0.02))
    several = count_images(*packs, 0.02, processes=2)
    np.testing.assert_array_equal(several.plain.confusion, counts.plain.confusion)


def test_counts_survive_a_file(tmp_path: Path) -> None:
    truth, found = scenes(1)
    packs = [pack(tmp_path / name, maps) for name, maps in (("t", truth), ("p", found))]
    for crf in (None, packs[0]):
        maps = {
            image: np.where(labels == VOID, 0, labels).astype(np.uint8) for image, labels in truth.items()
        }
        refined = crf and pack(tmp_path / "c", maps)
        counts = count_images(*packs, refined, 0.02, processes=1)
        counts.save(tmp_path / "one.npz")
        counts.save(tmp_path / "two.npz")
        assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
        read = SemanticCounts.load(tmp_path / "one.npz")
        np.testing.assert_array_equal(read.image_ids, counts.image_ids)
        np.testing.assert_array_equal(read.plain.confusion, counts.plain.confusion)
        np.testing.assert_array_equal(read.plain.boundary, counts.plain.boundary)
        assert (read.crf is None) == (crf is None)
        if read.crf and counts.crf:
            np.testing.assert_array_equal(read.crf.confusion, counts.crf.confusion)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY"])
def test_a_file_of_something_else_is_told(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "seed-0.npz"
    with pytest.raises(UserError, match="file not found"):
        SemanticCounts.load(file)
    file.write_bytes(content)
    with pytest.raises(UserError, match="does not hold counts of label maps"):
        SemanticCounts.load(file)
    np.savez(file, image_ids=np.arange(3))
    with pytest.raises(UserError, match="does not hold counts of label maps"):
        SemanticCounts.load(file)


def test_predictions_that_do_not_fit_are_told(tmp_path: Path) -> None:
    truth, found = scenes(2)
    first, second, *_ = sorted(truth)
    known = pack(tmp_path / "truth", truth)

    def problem(name: str, maps: dict[int, np.ndarray]) -> str:
        with pytest.raises(UserError) as caught:
            count_images(known, pack(tmp_path / name, maps), None, 0.02, processes=1)
        return str(caught.value)

    missing = {image: labels for image, labels in found.items() if image != second}
    assert problem("missing", missing).startswith(f"{tmp_path / 'missing'}: image {second}: has no map here")
    height, width = truth[first].shape
    line = problem("turned", found | {first: np.zeros((height + 1, width), np.uint8)})
    assert f"image {first}: its prediction is {height + 1} x {width} pixels" in line
    assert f"its ground truth {height} x {width}" in line
    wrong = found[second].copy()
    wrong[0, 0] = VOID
    assert f"image {second}: a pixel is of class 255, and there are {CLASSES}" in problem(
        "void", found | {second: wrong}
    )
