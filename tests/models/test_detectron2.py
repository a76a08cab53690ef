"""Networks by their names in detectron2's zoo; without detectron2, one line that says how to get it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from pipeline.errors import UserError
from pipeline.models.detectron2 import build_detectron2, resnet_name
from pipeline.params import Detectron2, NmsThreshold, Predict
from tests.fake_detectron2 import install
from tests.labeling_settings import RELEASED

PREDICT = Predict(
    short_side=96,
    max_side=128,
    score_threshold=0.1,
    nms_threshold=NmsThreshold(condinst=1.0, mask_rcnn=1.0, detectron2=0.4),
    pre_nms_topk=77,
    detections_per_image=20,
    batch_size=2,
    threads=1,
    labeling=RELEASED,
)


def zoo(**changes: Any) -> Detectron2:
    values = {
        "architecture": "detectron2",
        "backbone": "resnet50",
        "config": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml",
        "frozen_stages": 2,
        "pixel_mean": (123.675, 116.28, 103.53),
        "pixel_std": (58.395, 57.12, 57.375),
    }
    return Detectron2.model_validate(values | changes)


def test_without_it_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="detectron2 is not installed; type: pip install") as caught:
        build_detectron2(zoo(), 3, PREDICT, None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise OSError('undefined symbol: _ZN3c10\\nat line 3')", r"\(OSError: undefined symbol: _ZN3c10\)"),
        ("import no_such_module", r"\(ModuleNotFoundError: No module named 'no_such_module'\)"),
        ("raise AttributeError", r"\(AttributeError: no reason given\)"),
    ],
)
def test_a_broken_installation_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, reason: str
) -> None:
    """It is found, and its import fails."""
    (tmp_path / "detectron2").mkdir()
    (tmp_path / "detectron2" / "__init__.py").write_text(text)
    for name in [name for name in sys.modules if name.split(".")[0] == "detectron2"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=f"cannot be imported {reason}; build it anew") as caught:
        build_detectron2(zoo(), 3, PREDICT, None)
    assert "\n" not in str(caught.value)


def test_the_config_gets_our_classes_thresholds_and_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    config: Any = build_detectron2(zoo(), 3, PREDICT, None).config
    assert config.MODEL.ROI_HEADS.NUM_CLASSES == 3
    assert config.MODEL.ROI_HEADS.SCORE_THRESH_TEST == 0.1
    assert config.MODEL.ROI_HEADS.NMS_THRESH_TEST == 0.4
    assert config.MODEL.RPN.PRE_NMS_TOPK_TEST == config.MODEL.RPN.POST_NMS_TOPK_TEST == 77
    assert config.TEST.DETECTIONS_PER_IMAGE == 20
    assert config.MODEL.BACKBONE.FREEZE_AT == 2
    assert config.MODEL.RESNETS.STRIDE_IN_1X1 is False
    assert (config.INPUT.FORMAT, config.MODEL.PIXEL_MEAN) == ("RGB", [123.675, 116.28, 103.53])
    assert config.MODEL.DEVICE == "cpu"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("LVIS/mask_rcnn.yaml", "is no config of detectron2's model zoo"),
        ("COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml", "is not a Mask R-CNN"),
    ],
)
def test_other_networks_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, expected: str) -> None:
    install(monkeypatch)
    with pytest.raises(UserError, match=expected):
        build_detectron2(zoo(config=name), 3, PREDICT, None)


def test_start_weights_are_loaded_under_its_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch)
    path, weights = tmp_path / "backbone.safetensors", torch.rand(2, 3, 1, 1)
    save_file({"conv1.weight": weights}, path)
    network: Any = build_detectron2(zoo(), 3, PREDICT, path)
    assert torch.equal(network.backbone.bottom_up.stem.conv1.weight, weights)
    save_file({"conv1.weight": weights, "layer1.0.conv1.weight": weights.clone()}, path)
    with pytest.raises(UserError, match=r"res2\.0\.conv1\.weight: unexpected tensor"):
        build_detectron2(zoo(), 3, PREDICT, path)
    save_file({}, path)
    build_detectron2(zoo(), 3, PREDICT, path)


def test_every_tensor_of_a_resnet_has_one_name_of_detectron2() -> None:
    """Its blocks have conv1 to conv3 and a shortcut, each with a norm; its stages are res2 to res5."""
    names = [
        resnet_name(name)
        for name in timm.create_model("resnet50", features_only=True).state_dict()
        if not name.endswith("num_batches_tracked")
    ]
    norms = [f".norm.{kind}" for kind in ("weight", "bias", "running_mean", "running_var")]
    expected = {f"stem.conv1{end}" for end in (".weight", *norms)}
    for stage, blocks in ((2, 3), (3, 4), (4, 6), (5, 3)):
        for block in range(blocks):
            layers = ["conv1", "conv2", "conv3", *(["shortcut"] if block == 0 else [])]
            expected |= {
                f"res{stage}.{block}.{layer}{end}" for layer in layers for end in (".weight", *norms)
            }
    assert sorted(names) == sorted(expected)


def test_the_real_network_takes_timms_weights(tmp_path: Path) -> None:
    pytest.importorskip("detectron2", reason="needs detectron2, an optional back end")
    path = tmp_path / "backbone.safetensors"
    resnet = timm.create_model("resnet50", features_only=True)
    save_file({name: value.contiguous() for name, value in resnet.state_dict().items()}, path)
    for config in (zoo().config, "Misc/cascade_mask_rcnn_R_50_FPN_3x.yaml"):
        network: Any = build_detectron2(zoo(config=config), 3, PREDICT, path)
        images = torch.rand(1, 3, 64, 64)
        found, expected = network.backbone.bottom_up.eval()(images), resnet.eval()(images)
        for name, theirs in zip(("res2", "res3", "res4", "res5"), expected[1:], strict=True):
            torch.testing.assert_close(found[name], theirs, rtol=1e-3, atol=1e-4)
