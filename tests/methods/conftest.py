"""The published settings, and the tiny CondInst that parity vectors come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

from pipeline.models.condinst import CondInstHeads
from pipeline.params import BoxInst, CondInst, NmsThreshold, Predict
from pipeline.params_file import load_params
from tests.condinst_settings import published_condinst
from tests.condinst_vectors import GivenPyramid, reference_state
from tests.labeling_settings import RELEASED


@pytest.fixture(scope="session")
def published(root: Path) -> BoxInst:
    """BoxInst's settings in the COCO preset; the parity tests run with them, so they cannot drift."""
    settings = load_params(root / "presets" / "coco.yaml").methods["boxinst_1x"]
    assert isinstance(settings, BoxInst)
    return settings


@pytest.fixture(scope="session")
def predict_settings() -> Predict:
    """The published inference settings."""
    return Predict(
        short_side=800,
        max_side=1333,
        score_threshold=0.05,
        nms_threshold=NmsThreshold(condinst=0.6, mask_rcnn=0.5, detectron2=0.5),
        pre_nms_topk=1000,
        detections_per_image=100,
        network="student",
        batch_size=1,
        threads=1,
        labeling=RELEASED,
    )


@pytest.fixture(scope="session")
def tiny_model() -> CondInst:
    """Settings of the model of end_to_end_weights."""
    return published_condinst(
        fpn_channels=32,
        head_convs=1,
        mask_branch_channels=8,
        mask_branch_convs=2,
        mask_features=4,
        mask_head_channels=4,
    )


@pytest.fixture
def tiny_heads(load: Callable[[str], dict[str, Tensor]], tiny_model: CondInst) -> GivenPyramid:
    """The model of end_to_end_weights; set `.pyramid` to [p3, ..., p7] before use."""
    heads = CondInstHeads(tiny_model, 5, {})
    heads.load_state_dict(reference_state(load("end_to_end_weights")))
    return GivenPyramid(heads)
