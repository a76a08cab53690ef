"""Label maps of training images: what has no label is missed, and void pixels do not count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.data.label_codes import UNLABELLED, VOID
from pipeline.errors import UserError
from pipeline.evaluation.label_maps import score_label_maps
from pipeline.evaluation.semantic import mean_ious
from pipeline.evaluation.semantic_comparison import compare_label_maps
from pipeline.params import EvaluateSemantic
from tests.evaluation.semantic_packs import pack, scenes

SETTINGS = EvaluateSemantic(boundary_dilation=0.02, bootstrap_samples=100, bootstrap_seed=0, processes=1)
NAMES = ["background", "cat", "dog"]


def test_figures_of_a_map_by_hand(tmp_path: Path) -> None:
    """Ten pixels: one void; of the class cat, two are right and one has no label; one dog is called cat."""
    truth = np.array([[0, 0, 0, 1, 1, 1, 2, 2, 0, VOID]], dtype=np.uint8)
    maps = np.array([[0, 0, 0, 1, 1, UNLABELLED, 1, 2, VOID, 2]], dtype=np.uint8)
    figures, counts = score_label_maps(
        pack(tmp_path / "truth", {7: truth}, NAMES), pack(tmp_path / "maps", {7: maps}, NAMES), SETTINGS
    )
    assert figures["images"] == 1
    assert figures["labelled"] == pytest.approx(100 * 7 / 9)
    assert figures["labelled_accuracy"] == pytest.approx(100 * 6 / 7)
    assert figures["per_class"]["IoU"] == pytest.approx({"background": 75.0, "cat": 50.0, "dog": 50.0})
    assert figures["mIoU"] == pytest.approx(175 / 3)
    assert set(figures["per_class"]["boundary_IoU"]) == set(NAMES)
    assert float(mean_ious(counts.plain)) == pytest.approx(figures["mIoU"])


def test_the_truth_itself_is_perfect_and_no_label_is_nothing(tmp_path: Path) -> None:
    truth, _ = scenes(3)
    first = pack(tmp_path / "truth", truth)
    whole = score_label_maps(first, first, SETTINGS)[0]
    assert (whole["mIoU"], whole["boundary_mIoU"], whole["labelled"]) == (100.0, 100.0, 100.0)
    empty = {image: np.full_like(labels, UNLABELLED) for image, labels in truth.items()}
    nothing = score_label_maps(first, pack(tmp_path / "empty", empty), SETTINGS)[0]
    assert (nothing["mIoU"], nothing["labelled"], nothing["labelled_accuracy"]) == (0.0, 0.0, None)


def test_sets_are_compared_on_the_same_images(tmp_path: Path) -> None:
    truth, found = scenes(4, images=30)
    first = pack(tmp_path / "truth", truth)
    fewer = {image: np.where(labels == 1, UNLABELLED, labels) for image, labels in found.items()}
    maps = {
        name: score_label_maps(first, pack(tmp_path / name, labels), SETTINGS)[1]
        for name, labels in (("all", found), ("fewer", fewer))
    }
    compared = compare_label_maps(maps, 200, 1)
    (difference,) = compared["differences"]
    points = {name: row["mIoU"] for name, row in compared["sets"].items()}
    assert difference["mIoU"] == pytest.approx(points["all"] - points["fewer"])
    assert difference["interval"][0] > 0
    assert difference["within_noise"] is False
    assert {row["images"] for row in compared["sets"].values()} == {30}


def test_a_set_of_a_share_is_scored_on_its_own_images(tmp_path: Path) -> None:
    truth, found = scenes(6, images=8)
    first = pack(tmp_path / "truth", truth)
    part = dict(list(found.items())[2:5])
    figures, counts = score_label_maps(first, pack(tmp_path / "part", part), SETTINGS)
    alone = score_label_maps(
        pack(tmp_path / "alone", {image: truth[image] for image in part}),
        pack(tmp_path / "same", part),
        SETTINGS,
    )[0]
    assert figures == alone
    assert figures["images"] == 3
    whole = score_label_maps(first, pack(tmp_path / "whole", found), SETTINGS)[1]
    compared = compare_label_maps({"part": counts, "whole": whole, "twin": counts}, 50, 1)
    assert [row["images"] for row in compared["sets"].values()] == [3, 8, 3]
    assert list(compared["sets"]) == ["part", "whole", "twin"]
    (difference,) = compared["differences"]  # of the two that are of the same images
    assert difference["mIoU"] == 0


def test_a_map_of_an_image_without_ground_truth_is_refused(tmp_path: Path) -> None:
    truth, found = scenes(7, images=2)
    first, *_ = truth
    with pytest.raises(UserError, match=r"truth: image \d+: has no map here"):
        score_label_maps(
            pack(tmp_path / "truth", {first: truth[first]}), pack(tmp_path / "maps", found), SETTINGS
        )


def test_labels_of_other_classes_are_refused(tmp_path: Path) -> None:
    truth, found = scenes(5)
    other = pack(tmp_path / "maps", found, ["sky", "a", "b", "c", "d"])
    with pytest.raises(UserError, match="is of the classes sky, a, b, c, d, not background"):
        score_label_maps(pack(tmp_path / "truth", truth), other, SETTINGS)
