"""Backbone starts: the pre-training learns and repeats, foreign weights are read or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline import params
from pipeline.data.shapes.dataset import STREAMS
from pipeline.data.shapes.scene import generate_single
from pipeline.errors import UserError
from pipeline.methods.pretraining import method
from pipeline.methods.pretraining.method import Classification, Classifier, SingleObjects
from pipeline.methods.pretraining.start import write_backbone_start
from pipeline.models.backbones import build_backbone, load_backbone

RESNET, CONVNEXT = "resnet10t", "convnext_atto"


def section(**changes: Any) -> params.ShapesPretraining:
    values = {
        "kind": "shapes_pretraining",
        "architecture": "small",
        "images": 64,
        "size": 32,
        "seed": 5,
        "steps": 4,
        "batch_size": 8,
        "learning_rate": 0.002,
        "weight_decay": 0.01,
        "hard": False,
        "threads": 1,
    }
    return params.ShapesPretraining.model_validate(values | changes)


def write(start: params.Backbone, folder: Path) -> dict[str, Any]:
    out = folder / "out"
    write_backbone_start(start, out, root=folder, checkpoint=folder / "checkpoint", key="key", name="start")
    return json.loads((out / "backbone.json").read_text())


@pytest.fixture
def few_val_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method, "VAL_IMAGES", 20)


def test_streams_are_distinct() -> None:
    assert len(set(STREAMS.values())) == len(STREAMS)
    images = {
        stream: generate_single((5, number, 0), 32, False).image.tobytes()
        for stream, number in STREAMS.items()
    }
    assert len(set(images.values())) == len(STREAMS)


def test_single_objects_are_flipped_as_the_key_says() -> None:
    dataset = SingleObjects(section(), "pretraining", 3)
    first, again = dataset[(1, 7)], dataset[(1, 7)]
    assert torch.equal(first.image, again.image)
    assert first.target.labels.tolist() == dataset.labels[1:2].tolist()
    views = {np.asarray(dataset[(1, draw)].image).tobytes() for draw in range(40)}
    assert len(views) == 8, "two flips and a transposition"


def test_loss_falls_on_one_batch() -> None:
    torch.manual_seed(0)
    backbone = build_backbone("small", frozen_stages=0, frozen_batchnorm=False)
    classification = Classification(Classifier(backbone, 4))
    dataset = SingleObjects(section(), "pretraining", 8)
    batch = [dataset[(index, 0)] for index in range(8)]
    optimizer = torch.optim.AdamW(classification.module.parameters(), 0.002)
    losses = []
    for step in range(8):
        losses.append(classification.losses(batch, step)["class"])
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.6 * losses[0]


def test_accuracy_counts_right_answers() -> None:
    torch.manual_seed(0)
    backbone = build_backbone("small", frozen_stages=0, frozen_batchnorm=False)
    classifier = Classifier(backbone, 4)
    dataset = SingleObjects(section(), "pretraining", 10)
    torch.nn.init.zeros_(classifier.linear.weight)
    classifier.linear.bias.data = torch.tensor([0.0, 1.0, 0.0, 0.0])
    expected = (dataset.labels == 1).float().mean().item()
    assert Classification(classifier).accuracy(dataset, 4) == pytest.approx(expected)


@pytest.mark.usefixtures("few_val_images")
def test_pretraining_writes_a_backbone_and_repeats(tmp_path: Path) -> None:
    about = write(section(), tmp_path / "a")
    write(section(), tmp_path / "b")
    for name in ("backbone.safetensors", "backbone.json"):
        assert (tmp_path / "a/out" / name).read_bytes() == (tmp_path / "b/out" / name).read_bytes()
    assert about["figures"].keys() == {"val_accuracy", "val_images", "train_images", "steps"}
    assert 0 <= about["figures"]["val_accuracy"] <= 1
    backbone = build_backbone("small", frozen_stages=0, frozen_batchnorm=False)
    before = backbone.network.stem[0].weight.clone()
    load_backbone(backbone, tmp_path / "a/out/backbone.safetensors")
    assert not torch.equal(backbone.network.stem[0].weight, before)
    assert not (tmp_path / "a/checkpoint").exists(), "resume points are gone once training is done"


def test_random_start_is_an_empty_file(tmp_path: Path) -> None:
    about = write(params.RandomStart(kind="random", architecture="small"), tmp_path)
    assert load_file(tmp_path / "out/backbone.safetensors") == {}
    assert about == {"kind": "random", "architecture": "small", "figures": {}, "ignored": []}


def from_file(architecture: str, path: str) -> params.WeightFile:
    return params.WeightFile(architecture=architecture, path=path, content="backbone")


def classifier_state(name: str) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return timm.create_model(name, pretrained=False).state_dict()


def assert_loaded(folder: Path, name: str, state: dict[str, Tensor]) -> None:
    """The written file gives the features that timm's full model computes."""
    backbone = build_backbone(name, frozen_stages=0, frozen_batchnorm=False).eval()
    load_backbone(backbone, folder / "out/backbone.safetensors")
    full = timm.create_model(name, pretrained=False).eval()
    full.load_state_dict(state)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        wanted = full.forward_intermediates(images, intermediates_only=True)[-1]
        torch.testing.assert_close(backbone(images)[32], wanted)


@pytest.mark.parametrize("name", [RESNET, CONVNEXT])
@pytest.mark.parametrize(("wrapper", "prefix"), [("", ""), ("state_dict", "module."), ("model", "backbone.")])
def test_pth_files_with_a_classifier_are_read(tmp_path: Path, name: str, wrapper: str, prefix: str) -> None:
    state = classifier_state(name)
    wrapped: Any = {prefix + key: value for key, value in state.items()}
    torch.save({wrapper: wrapped, "epoch": 3} if wrapper else wrapped, tmp_path / "w.pth")
    about = write(from_file(name, "w.pth"), tmp_path)
    assert_loaded(tmp_path, name, state)
    assert about["ignored"] == sorted(key for key in state if key.startswith(("fc.", "head.")))


def test_safetensors_of_a_detector_are_read(tmp_path: Path) -> None:
    state = classifier_state(RESNET)
    detector = {f"backbone.body.{key}": value for key, value in state.items() if not key.startswith("fc.")}
    save_file(
        {**detector, "rpn.weight": torch.zeros(1), "backbone.fpn.bias": torch.zeros(1)},
        tmp_path / "w.safetensors",
    )
    about = write(from_file(RESNET, "w.safetensors"), tmp_path)
    assert_loaded(tmp_path, RESNET, state)
    assert about["ignored"] == ["rpn.weight", "fpn.bias"]


def test_own_file_can_be_a_start(tmp_path: Path) -> None:
    backbone = build_backbone("small", frozen_stages=0, frozen_batchnorm=False)
    save_file(backbone.network.state_dict(), tmp_path / "w.safetensors")
    write(from_file("small", "w.safetensors"), tmp_path)
    assert (tmp_path / "out/backbone.safetensors").read_bytes() == (tmp_path / "w.safetensors").read_bytes()


def save_incomplete(path: Path) -> None:
    state = classifier_state(RESNET)
    del state["layer2.0.conv1.weight"]
    torch.save(state, path)


def save_other(path: Path) -> None:
    torch.save({**classifier_state(RESNET), "layer9.weight": torch.zeros(1)}, path)


def save_module(path: Path) -> None:
    torch.save(torch.nn.Linear(1, 1), path)


def save_tensor(path: Path) -> None:
    torch.save(torch.zeros(3), path)


def save_text(path: Path) -> None:
    path.write_text("no weights")


def save_nothing(path: Path) -> None:
    path.write_bytes(b"")


def save_no_file(path: Path) -> None:
    assert not path.exists()


@pytest.mark.parametrize(
    ("save", "message"),
    [
        (save_incomplete, "layer2.0.conv1.weight: missing"),
        (save_other, "layer9.weight: unexpected"),
        (save_module, "cannot be read as plain weights"),
        (save_tensor, "is not a state dict"),
        (save_text, "cannot be read as plain weights"),
        (save_nothing, "cannot be read as plain weights"),
        (save_no_file, "file not found"),
    ],
)
def test_unusable_files_are_refused_in_one_line(tmp_path: Path, save, message: str) -> None:
    save(tmp_path / "w.pth")
    with pytest.raises(UserError, match=message) as caught:
        write(from_file(RESNET, "w.pth"), tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_failed_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def offline(name: str, **options: Any) -> Any:
        if options.get("pretrained"):
            raise OSError("no route to host")
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError, match=r"no route to host.*name their path in weight_files"):
        write(params.TimmWeights(kind="timm", architecture=RESNET), tmp_path)


def test_the_small_network_has_nothing_to_download(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no weights to download"):
        write(params.TimmWeights(kind="timm", architecture="small"), tmp_path)


def test_downloaded_weights_fit_the_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model
    monkeypatch.setattr(
        timm, "create_model", lambda name, **options: create(name, **options | {"pretrained": False})
    )
    write(params.TimmWeights(kind="timm", architecture=CONVNEXT), tmp_path)
    load_backbone(
        build_backbone(CONVNEXT, frozen_stages=2, frozen_batchnorm=True),
        tmp_path / "out/backbone.safetensors",
    )
