"""Dense CRF: the settings mean what the specification says, and edges attract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline import params
from pipeline.priors.crf import dense_crf
from tests.labeling_settings import RELEASED

SPML = params.DenseCrf(
    iterations=10,
    smoothness_std=1.0,
    smoothness_weight=3.0,
    appearance_std=67.0,
    appearance_color_std=3.0,
    appearance_weight=4.0,
)
SEAM = RELEASED.dense_crf


@pytest.fixture
def stored(shared_data: Path) -> dict[str, np.ndarray]:
    with np.load(shared_data / "reference" / "priors" / "densecrf.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def test_marginals_are_those_of_the_reference(stored: dict[str, np.ndarray]) -> None:
    image, probability = stored["image"], stored["probability"]
    once = dense_crf(image, probability, SPML.model_copy(update={"iterations": 1}))
    assert np.abs(once - stored["q_1"].astype(np.float32)).mean() < 2e-3
    assert (dense_crf(image, probability, SPML).argmax(0) == stored["label_10"]).mean() > 0.99
    assert (dense_crf(image, probability, SEAM).argmax(0) == stored["wide_label_10"]).mean() > 0.99


def test_scores_need_not_add_up_to_one(stored: dict[str, np.ndarray]) -> None:
    raw = 0.375 * stored["probability"]
    raw[3] = 0
    labels = dense_crf(stored["image"], raw, SPML).argmax(0)
    assert not (labels == 3).any()
    assert (labels == stored["raw_label_10"]).mean() > 0.99


def test_a_blurred_guess_snaps_to_the_edge_of_the_image() -> None:
    image = np.full((24, 32, 3), 40, dtype=np.uint8)
    image[:, 16:] = 200
    image.setflags(write=False)
    guess = np.tile(np.linspace(0.2, 0.95, 32, dtype=np.float32), (24, 1))  # 0.5 at column 12
    found = dense_crf(image, np.stack([1 - guess, guess]), SEAM)
    assert found.shape == (2, 24, 32)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
    np.testing.assert_array_equal(found[1] > 0.5, np.arange(32)[None].repeat(24, 0) >= 16)
