"""Confident labels: two backgrounds and what a dense CRF makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.data.label_codes import UNLABELLED
from pipeline.methods.cam.confident import confident_labels
from tests.methods.cam.tag_labels import CONFIDENT

FLAT = np.full((4, 30, 3), 90, dtype=np.uint8)
# A CRF that leaves hard labels as they are.
IDLE = CONFIDENT.model_copy(
    update={
        "dense_crf": CONFIDENT.dense_crf.model_copy(
            update={"smoothness_weight": 0.0, "appearance_weight": 0.0}
        )
    }
)


def test_sure_are_classes_above_the_high_and_background_above_the_low_score() -> None:
    maps = np.zeros((2, 4, 30), dtype=np.float32)
    maps[1, :, 10:20], maps[0, :, 20:] = 0.2, 0.9
    labels = confident_labels(FLAT, maps, (3, 5), IDLE)
    expected = np.repeat([0, UNLABELLED, 3], 10)
    np.testing.assert_array_equal(labels, np.tile(expected, (4, 1)))


def test_the_crf_snaps_labels_to_edges_of_the_image() -> None:
    image = np.full((12, 40, 3), 40, dtype=np.uint8)
    image[:, 20:] = 220
    maps = np.zeros((1, 12, 40), dtype=np.float32)
    maps[:, :, 17:] = 0.9  # three columns too many
    labels = confident_labels(image, maps, (2,), CONFIDENT)
    np.testing.assert_array_equal(labels, np.tile(np.repeat([0, 2], 20), (12, 1)))


def test_hard_labels_enter_the_crf_with_their_certainty(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = np.zeros((2, 4, 30), dtype=np.float32)
    maps[0] = 0.9
    seen = []

    def recorded(image: object, probabilities: np.ndarray, settings: object) -> np.ndarray:
        seen.append(probabilities)
        return probabilities

    monkeypatch.setattr("pipeline.methods.cam.confident.dense_crf", recorded)
    confident_labels(FLAT, maps, (1, 2), CONFIDENT)
    assert len(seen) == 2
    np.testing.assert_allclose(seen[0][:, 0, 0], [0.15, 0.7, 0.15], rtol=1e-6)
    np.testing.assert_allclose(seen[0].sum(axis=0), 1, rtol=1e-6)


def test_an_image_without_tags_is_surely_background() -> None:
    assert not confident_labels(FLAT, np.zeros((0, 4, 30), dtype=np.float32), (), CONFIDENT).any()
