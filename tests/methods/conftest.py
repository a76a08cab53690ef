"""The published settings, and the tiny CondInst that parity vectors come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pipeline.models.condinst import CondInstHeads, CondInstOutputs
from pipeline.params import BoxInst, CondInst, NmsThreshold, Predict
from pipeline.params_file import load_params
from tests.condinst_settings import published_condinst
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


class GivenPyramid(nn.Module):
    """Heads on stored p3..p7 in place of backbone and pyramid: what end_to_end_* vectors start from."""

    def __init__(self, heads: CondInstHeads) -> None:
        super().__init__()
        self.heads = heads
        self.pyramid: list[Tensor] = []

    def forward(self, images: Tensor, sizes: list[tuple[int, int]]) -> CondInstOutputs:
        """Ignores the images but for their padded size, to which each level is cut from its corner."""
        height, width = images.shape[-2:]
        levels = [
            level[:, :, : -(-height // stride), : -(-width // stride)]
            for level, stride in zip(self.pyramid, (8, 16, 32, 64, 128), strict=True)
        ]
        outputs: CondInstOutputs = self.heads(levels, {})
        return outputs


@pytest.fixture
def tiny_heads(load: Callable[[str], dict[str, Tensor]], tiny_model: CondInst) -> GivenPyramid:
    """The model of end_to_end_weights; set `.pyramid` to [p3, ..., p7] before use."""
    heads = CondInstHeads(tiny_model, 5, {})
    heads.load_state_dict(reference_state(load("end_to_end_weights")))
    return GivenPyramid(heads)


def reference_state(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    """The reference's names as ours: its scales and box outputs are modules of their own, ours joined."""
    arrays = {
        key.removeprefix("state.").removeprefix("proposal_generator."): value for key, value in arrays.items()
    }
    names = {
        "fcos_head.cls_tower.": "fcos_head.class_tower.",
        "fcos_head.bbox_tower.": "fcos_head.box_tower.",
        "fcos_head.cls_logits.": "fcos_head.class_logits.",
        "mask_branch.tower.2.": "mask_branch.project.",
        "mask_branch.": "mask_branch.",
    }
    state = {}
    for key, value in arrays.items():
        old = next((old for old in names if key.startswith(old)), None)
        if old is not None:
            state[names[old] + key.removeprefix(old)] = value
    for kind in ("weight", "bias"):
        parts = ("fcos_head.bbox_pred", "fcos_head.ctrness", "controller")
        state[f"fcos_head.box_outputs.{kind}"] = torch.cat([arrays[f"{part}.{kind}"] for part in parts])
    state["fcos_head.scales"] = torch.cat([arrays[f"fcos_head.scales.{level}.scale"] for level in range(5)])
    return state
