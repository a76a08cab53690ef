"""A trained model comes back from disk as it was, and foreign files are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pipeline import params
from pipeline.data.images import ImageRecord, ImageStore, write_zip_store
from pipeline.errors import UserError
from pipeline.labels.label_file import Category, LabelFile
from pipeline.methods.box_teacher.method import BoxTeacher
from pipeline.methods.build import build_labeler, build_method
from pipeline.methods.bundle import load_bundle, save_bundle
from pipeline.methods.mean_teacher.method import MeanTeacher
from pipeline.methods.prediction import predict_images
from pipeline.params_file import load_params
from tests import box_teacher_settings, taught_settings
from tests.mask_rcnn_settings import small_mask_rcnn

CPU = torch.device("cpu")
CATEGORIES = [Category(7, "cat"), Category(90, "dog")]


@pytest.fixture(scope="module")
def demo(root: Path) -> params.Params:
    return load_params(root / "presets" / "demo.yaml")


@pytest.fixture(scope="module")
def bundle(demo: params.Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    torch.manual_seed(0)
    model = demo.models["condinst_small"]
    method = build_method(demo.methods["boxinst"], model, len(CATEGORIES), demo.predict, seed=0)
    save_bundle(folder, method.module, demo.methods["boxinst"], model, CATEGORIES, 5)
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    import cv2

    folder = tmp_path_factory.mktemp("val")
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (64, width, 3), dtype=np.uint8) for width in (64, 96)]
    rows = [
        (
            ImageRecord(index, f"{index}.png", image.shape[1], image.shape[0]),
            cv2.imencode(".png", image)[1].tobytes(),
        )
        for index, image in enumerate(images, 3)
    ]
    write_zip_store(folder, rows)
    return ImageStore.open(folder)


def box_labels(folder: Path) -> LabelFile:
    label = {"info": {"kind": "boxes"}, "categories": [{"id": 7, "name": "cat"}, {"id": 90, "name": "dog"}]}
    label["images"] = [
        {"id": 3, "file_name": "3.png", "width": 64, "height": 64},
        {"id": 4, "file_name": "4.png", "width": 96, "height": 64},
    ]
    label["annotations"] = [
        {"id": 11, "image_id": 4, "category_id": 90, "bbox": [8, 4, 40, 30], "area": 1200, "iscrowd": 0}
    ]
    (folder / "labels.json").write_text(json.dumps(label), encoding="utf-8")
    return LabelFile.read(folder / "labels.json")


def test_weights_and_description_come_back(bundle: Path, demo: params.Params) -> None:
    method, categories = load_bundle(bundle, demo.predict, CPU)
    saved = load_file(bundle / "model.safetensors")
    assert categories == CATEGORIES
    assert not method.module.training
    assert method.module.state_dict().keys() == saved.keys()
    for name, tensor in method.module.state_dict().items():
        assert torch.equal(tensor, saved[name])
    description = json.loads((bundle / "model.json").read_text())
    assert description["train_images"] == 5
    assert description["settings"]["kind"] == "boxinst"
    assert description["environment"]["torch"] == torch.__version__


def test_predictions_have_the_datasets_ids(
    bundle: Path, demo: params.Params, store: ImageStore, tmp_path: Path
) -> None:
    settings = demo.predict.model_copy(
        update={"score_threshold": 0.0, "detections_per_image": 4, "batch_size": 2}
    )
    method, categories = load_bundle(bundle, settings, CPU)
    detections, in_boxes = predict_images(
        method, store, box_labels(tmp_path), categories, settings, CPU, "run"
    )
    assert {item["image_id"] for item in detections} == {3, 4}
    assert {item["category_id"] for item in detections} <= {7, 90}
    sizes = {3: [64, 64], 4: [64, 96]}
    for item in detections:
        assert item["segmentation"]["size"] == sizes[item["image_id"]]
        assert 0 <= item["score"] <= 1
        assert min(item["bbox"]) >= 0
    assert [(item["annotation_id"], item["image_id"]) for item in in_boxes] == [(11, 4)]


def test_a_mask_rcnn_comes_back(demo: params.Params, tmp_path: Path) -> None:
    model, settings = small_mask_rcnn(), demo.methods["supervised"]
    saved = build_method(settings, model, len(CATEGORIES), demo.predict, seed=0)
    save_bundle(tmp_path, saved.module, settings, model, CATEGORIES, 5)
    method, _ = load_bundle(tmp_path, demo.predict, CPU)
    assert type(method) is type(saved)
    for name, tensor in method.module.state_dict().items():
        assert torch.equal(tensor, saved.module.state_dict()[name])


def test_a_description_that_is_none_is_refused(bundle: Path, demo: params.Params, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"settings": {}}', encoding="utf-8")
    with pytest.raises(UserError, match=r"model\.json.*train it again"):
        load_bundle(tmp_path, demo.predict, CPU)


def test_weights_of_another_model_are_refused(bundle: Path, demo: params.Params, tmp_path: Path) -> None:
    description = json.loads((bundle / "model.json").read_text())
    description["categories"].append({"id": 91, "name": "cow"})
    (tmp_path / "model.json").write_text(json.dumps(description), encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes((bundle / "model.safetensors").read_bytes())
    with pytest.raises(UserError, match=r"model\.safetensors"):
        load_bundle(tmp_path, demo.predict, CPU)


@pytest.mark.parametrize("network", ["student", "teacher"])
def test_either_of_two_networks_predicts(
    root: Path, demo: params.Params, tmp_path: Path, network: Literal["student", "teacher"]
) -> None:
    settings = taught_settings.settings(root)
    saved = taught_settings.make_method(root, settings)
    save_bundle(tmp_path, saved.module, settings, taught_settings.MODEL, CATEGORIES, 5)
    method, _ = load_bundle(tmp_path, demo.predict, CPU, network)
    assert isinstance(method, MeanTeacher)
    assert method.predictor == network
    for name, tensor in method.module.state_dict().items():
        assert torch.equal(tensor, saved.module.state_dict()[name])
    counted = json.loads((tmp_path / "model.json").read_text())["parameters"]
    assert counted == sum(parameter.numel() for parameter in saved.networks.student.parameters())


def test_the_teacher_of_boxes_predicts_and_is_not_counted(
    root: Path, demo: params.Params, tmp_path: Path
) -> None:
    settings = box_teacher_settings.settings(root)
    saved = box_teacher_settings.make_method(root, settings)
    model = demo.models["condinst_small"]
    save_bundle(tmp_path, saved.module, settings, model, CATEGORIES, 5)
    method, _ = load_bundle(tmp_path, demo.predict, CPU, "student")
    assert isinstance(method, BoxTeacher)
    assert method.predictor is method.networks.teacher
    for name, tensor in method.module.state_dict().items():
        assert torch.equal(tensor, saved.module.state_dict()[name])
    counted = json.loads((tmp_path / "model.json").read_text())["parameters"]
    assert counted == sum(parameter.numel() for parameter in saved.networks.student.parameters())


def test_a_teacher_is_saved_and_not_counted(demo: params.Params, tmp_path: Path) -> None:
    settings, model = demo.methods["mal"], demo.models["autolabeler_small"]
    assert isinstance(settings, params.Mal)
    assert isinstance(model, params.AutoLabeler)
    networks = build_labeler(settings, model, epoch_steps=1).networks
    save_bundle(tmp_path, networks, settings, model, CATEGORIES, 5)
    counted = json.loads((tmp_path / "model.json").read_text())["parameters"]
    assert counted == sum(parameter.numel() for parameter in networks.student.parameters())
    assert any(name.startswith("teacher.") for name in load_file(tmp_path / "model.safetensors"))
