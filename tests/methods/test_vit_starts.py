"""Backbone starts of vision transformers: DeiT's and MAE's files, download, pre-training, none."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline import params
from pipeline.errors import UserError
from pipeline.methods.pretraining import method
from pipeline.methods.pretraining.start import write_backbone_start
from pipeline.models.autolabeler.network import AutoLabeler, build_autolabeler, load_encoder
from pipeline.models.backbones import build_backbone, load_backbone
from pipeline.models.vit import PlainViT
from tests.autolabeler_settings import small_autolabeler

DEIT, VIT = "deit_tiny_patch16_224", "vit_tiny_patch16_224"


def write(start: params.Backbone, folder: Path) -> dict[str, Any]:
    out = folder / "out"
    write_backbone_start(start, out, root=folder, checkpoint=folder / "checkpoint", key="key", name="start")
    return json.loads((out / "backbone.json").read_text())


def from_file(path: str, name: str = DEIT) -> params.WeightFile:
    return params.WeightFile(architecture=name, path=path, content="backbone")


@pytest.fixture(scope="module")
def classifier() -> timm.models.VisionTransformer:
    """A network of the published DeiT layout, with a head."""
    torch.manual_seed(3)
    return timm.create_model(DEIT, pretrained=False).eval()


@pytest.fixture
def state(classifier: timm.models.VisionTransformer) -> dict[str, Tensor]:
    return dict(classifier.state_dict())


def labeler(folder: Path, name: str = DEIT) -> AutoLabeler:
    """The network of a run that begins from the written start."""
    network = build_autolabeler(small_autolabeler(backbone=name)).eval()
    load_encoder(network, folder / "out/backbone.safetensors")
    return network


def check_tokens(folder: Path, classifier: timm.models.VisionTransformer) -> None:
    """The run's encoder computes the tokens of the network whose weights were in the file."""
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        (wanted,) = PlainViT(classifier).eval()(images)
        torch.testing.assert_close(labeler(folder).tokens(images), wanted)


@pytest.mark.parametrize(("prefix", "wrapper"), [("", "model"), ("module.", "state_dict"), ("", "")])
def test_a_deit_checkpoint_is_a_start(
    tmp_path: Path, classifier, state: dict[str, Tensor], prefix: str, wrapper: str
) -> None:
    weights: dict[str, Any] = {prefix + key: value for key, value in state.items()}
    torch.save({wrapper: weights} if wrapper else weights, tmp_path / "deit.pth")
    about = write(from_file("deit.pth"), tmp_path)
    assert about["ignored"] == ["head.bias", "head.weight"]
    check_tokens(tmp_path, classifier)


def test_a_mae_checkpoint_is_a_start(tmp_path: Path, classifier, state: dict[str, Tensor]) -> None:
    decoder = {
        "mask_token": torch.zeros(1, 1, 8),
        "decoder_pos_embed": torch.zeros(1, 197, 8),
        "decoder_embed.weight": torch.zeros(8, 192),
        "decoder_blocks.0.norm1.weight": torch.zeros(8),
    }
    encoder = {key: value for key, value in state.items() if not key.startswith("head.")}
    torch.save({"model": encoder | decoder}, tmp_path / "mae.pth")
    about = write(from_file("mae.pth"), tmp_path)
    assert about["ignored"] == sorted(decoder)
    check_tokens(tmp_path, classifier)


def test_a_dinov2_checkpoint_is_a_start(tmp_path: Path) -> None:
    """Of patches of 14 pixels, 37 x 37 positions, and with the token of its masks."""
    name = "vit_small_patch14_dinov2"
    torch.manual_seed(3)
    vit = timm.create_model(name, pretrained=False, num_classes=0).eval()
    torch.save({**vit.state_dict(), "mask_token": torch.zeros(1, 384)}, tmp_path / "dinov2.pth")
    about = write(from_file("dinov2.pth", name), tmp_path)
    assert about["ignored"] == ["mask_token"]
    backbone = build_backbone(name, frozen_stages=0, frozen_batchnorm=False, single_map=True).eval()
    load_backbone(backbone, tmp_path / "out/backbone.safetensors")
    images = torch.rand(1, 3, 42, 70)
    with torch.no_grad():
        torch.testing.assert_close(backbone(images)[14], PlainViT(vit).eval()(images)[0])


def test_safetensors_are_a_start(tmp_path: Path, classifier, state: dict[str, Tensor]) -> None:
    save_file(state, tmp_path / "w.safetensors")
    write(from_file("w.safetensors"), tmp_path)
    check_tokens(tmp_path, classifier)


def other_positions(state: dict[str, Tensor]) -> None:
    state["pos_embed"] = torch.zeros(1, 1 + 24 * 24, 192)


def no_class_token(state: dict[str, Tensor]) -> None:
    del state["cls_token"]


def fewer_blocks(state: dict[str, Tensor]) -> None:
    for key in [key for key in state if key.startswith("blocks.11.")]:
        del state[key]


def other_width(state: dict[str, Tensor]) -> None:
    state["norm.weight"] = torch.zeros(384)


def distilled(state: dict[str, Tensor]) -> None:
    state["dist_token"] = torch.zeros(1, 1, 192)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_positions, r"pos_embed: has shape \(1, 577, 192\).*224 x 224 pixels, with 14 x 14 positions"),
        (no_class_token, "cls_token: missing tensor"),
        (fewer_blocks, r"blocks.11.attn.proj.bias: missing tensor \(the first of 12\)"),
        (other_width, r"norm.weight: has shape \(384,\), and the network needs \(192,\)"),
        (distilled, "dist_token: unexpected tensor"),
    ],
)
def test_files_that_do_not_fit_are_refused_in_one_line(
    tmp_path: Path, state: dict[str, Tensor], change, message: str
) -> None:
    change(state)
    torch.save({"model": state}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=message) as caught:
        write(from_file("w.pth"), tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "w.pth"))
    assert "\n" not in str(caught.value)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "w.pth").write_bytes(pickle.dumps({"model": Malicious()}, protocol=2))
    with pytest.raises(UserError, match="cannot be read as plain weights"):
        write(from_file("w.pth"), tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_failed_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def offline(name: str, **options: Any) -> Any:
        if options.get("pretrained"):
            raise RuntimeError("no route to host")
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError, match=r"RuntimeError: no route to host.*name their path in weight_files"):
        write(params.TimmWeights(kind="timm", architecture=DEIT), tmp_path)


def test_a_download_is_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model
    asked: list[bool] = []

    def online(name: str, **options: Any) -> Any:
        asked.append(options.pop("pretrained"))
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", online)
    write(params.TimmWeights(kind="timm", architecture=DEIT), tmp_path)
    assert asked[-1]
    labeler(tmp_path)
    assert "patch_embed.proj.weight" in load_file(tmp_path / "out/backbone.safetensors")


def test_a_random_start_is_an_empty_file(tmp_path: Path) -> None:
    about = write(params.RandomStart(kind="random", architecture=VIT), tmp_path)
    assert about["ignored"] == []
    assert load_file(tmp_path / "out/backbone.safetensors") == {}
    labeler(tmp_path, VIT)


def test_pretraining_on_shapes_is_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method, "VAL_IMAGES", 8)
    section = params.ShapesPretraining(
        kind="shapes_pretraining",
        architecture=VIT,
        images=8,
        size=32,
        seed=5,
        steps=1,
        batch_size=4,
        learning_rate=0.001,
        weight_decay=0.01,
        hard=False,
        threads=1,
    )
    about = write(section, tmp_path)
    assert 0 <= about["figures"]["val_accuracy"] <= 1
    labeler(tmp_path, VIT)
