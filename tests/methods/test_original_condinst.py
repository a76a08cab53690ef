"""Weights under the names of AdelaiDet and of BoxTeacher become the start of a run."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline import params
from pipeline.errors import UserError
from pipeline.methods.box_teacher.method import BoxTeacher
from pipeline.methods.build import build_method
from pipeline.methods.pretraining.original_condinst import read_condinst
from pipeline.methods.pretraining.start import write_backbone_start
from pipeline.models.backbones import build_maps
from pipeline.models.build import build_network
from pipeline.models.condinst import CondInst, build_condinst
from pipeline.params_file import load_params
from tests.methods.conftest import reference_state

CLASSES = 3
SWIN = "swin_tiny_patch4_window7_224"
RESNET = "resnet26"  # the smallest of timm's with the blocks and the stem of a ResNet-50
FCOS = "proposal_generator.fcos_head."
NAMES = {  # ours: the authors'
    r"heads\.fcos_head\.class_tower\.": f"{FCOS}cls_tower.",
    r"heads\.fcos_head\.box_tower\.": f"{FCOS}bbox_tower.",
    r"heads\.fcos_head\.class_logits\.": f"{FCOS}cls_logits.",
    r"heads\.mask_branch\.project\.": "mask_branch.tower.2.",
    r"heads\.mask_branch\.": "mask_branch.",
    r"fpn\.lateral\.0\.": "backbone.fpn_lateral3.",
    r"fpn\.lateral\.1\.": "backbone.fpn_lateral4.",
    r"fpn\.lateral\.2\.": "backbone.fpn_lateral5.",
    r"fpn\.output\.0\.": "backbone.fpn_output3.",
    r"fpn\.output\.1\.": "backbone.fpn_output4.",
    r"fpn\.output\.2\.": "backbone.fpn_output5.",
    r"fpn\.extra\.0\.": "backbone.top_block.p6.",
    r"fpn\.extra\.1\.": "backbone.top_block.p7.",
    r"backbone_norms\.0\.": "backbone.bottom_up.norm1.",
    r"backbone_norms\.1\.": "backbone.bottom_up.norm2.",
    r"backbone_norms\.2\.": "backbone.bottom_up.norm3.",
}
# What a checkpoint has beside what is learnt, and the head of CondInst's auxiliary loss.
DERIVED = {
    "mask_head._iter": torch.zeros(1),
    "mask_head.sizes_of_interest": torch.arange(5),
    "mask_branch.seg_head.0.0.weight": torch.zeros(8, 32, 3, 3),
    "mask_branch.logits.bias": torch.zeros(CLASSES),
    "backbone.bottom_up.layers.0.blocks.0.attn.relative_position_index": torch.zeros(49, 49),
}


def resnet_name(name: str) -> str:
    for stage in range(1, 5):
        name = name.replace(f"layer{stage}.", f"res{stage + 1}.")
    name = re.sub(r"bn(\d)\.", r"conv\1.norm.", name)
    name = name.replace(".conv2.offset.", ".conv2_offset.")
    name = name.replace("downsample.0.", "shortcut.").replace("downsample.1.", "shortcut.norm.")
    return name if name.startswith("res") else f"stem.{name}"


def swin_name(name: str) -> str:
    for stage in range(3):
        name = name.replace(f"layers_{stage + 1}.downsample.", f"layers.{stage}.downsample.")
    return re.sub(r"^layers_(\d)\.", r"layers.\1.", name)


def original_state(network: CondInst) -> dict[str, Tensor]:
    """The network as its authors would store it."""
    state: dict[str, Tensor] = {}
    rename = swin_name if network.backbone_norms else resnet_name
    for name, tensor in network.state_dict().items():
        kind = name.rpartition(".")[2]
        if name.startswith("backbone.network."):
            state[f"backbone.bottom_up.{rename(name.removeprefix('backbone.network.'))}"] = tensor
        elif name.startswith("heads.fcos_head.box_outputs."):
            parts = tensor.split(network.heads.fcos_head.box_widths)
            for layer, part in zip((f"{FCOS}bbox_pred", f"{FCOS}ctrness", "controller"), parts, strict=True):
                state[f"{layer}.{kind}"] = part.clone()
        elif name == "heads.fcos_head.scales":
            state |= {
                f"{FCOS}scales.{level}.scale": scale[None].clone() for level, scale in enumerate(tensor)
            }
        else:
            state[theirs(name)] = tensor
    return state


def theirs(name: str) -> str:
    for ours, original in NAMES.items():
        name, changed = re.subn(rf"^{ours}", original, name)
        if changed:
            return name
    raise AssertionError(f"no name for {name}")


def build(model: params.CondInst, classes: int = CLASSES, seed: int = 1) -> CondInst:
    torch.manual_seed(seed)
    network = build_condinst(model, classes).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.05)
    for name, buffer in network.named_buffers():
        if "running_" in name:
            nn.init.uniform_(buffer, 0.5, 2)
    return network


@pytest.fixture
def model(tiny_model: params.CondInst) -> params.CondInst:
    """The model of end_to_end_weights on a ResNet."""
    return tiny_model.model_copy(update={"backbone": RESNET, "frozen_batchnorm": True})


def start(folder: Path, file: str, content: Any = "condinst", name: str = RESNET) -> dict[str, Any]:
    section = params.WeightFile(architecture=name, path=file, content=content)
    write_backbone_start(
        section, folder / "out", root=folder, checkpoint=folder / "checkpoint", key="key", name="start"
    )
    return json.loads((folder / "out/backbone.json").read_text())


Started = Callable[..., Any]


@pytest.fixture
def started(predict_settings: params.Predict, tmp_path: Path) -> Started:
    """The network of a run that begins from the written start."""

    def build(model: params.CondInst, classes: int = CLASSES) -> nn.Module:
        torch.manual_seed(2)
        return build_network(model, classes, predict_settings, tmp_path / "out/backbone.safetensors").eval()

    return build


def check_equal(network: nn.Module, other: nn.Module) -> None:
    images = torch.rand(1, 3, 160, 288, generator=torch.Generator().manual_seed(3)) * 255
    with torch.no_grad():
        one, two = (part(images, [(160, 288)]) for part in (network, other))
    assert torch.equal(one.mask_features, two.mask_features)
    for name in ("class_logits", "distances", "centerness", "controller"):
        for level, wanted in zip(getattr(one, name), getattr(two, name), strict=True):
            assert level.abs().sum() > 0
            assert torch.equal(level, wanted)


@pytest.mark.parametrize(
    ("content", "changes"),
    [
        ("condinst", {}),
        ("boxinst", {"stride_in_1x1": True}),
        ("condinst", {"deformable_stages": (3, 4, 5), "frozen_stages": 2}),
        ("boxinst", {"backbone": SWIN, "frozen_stages": 2}),
    ],
)
def test_original_weights_make_the_same_network(
    tmp_path: Path, model: params.CondInst, started: Started, content: str, changes: dict[str, Any]
) -> None:
    model = model.model_copy(update=changes)
    network = build(model)
    checkpoint = {"model": original_state(network) | DERIVED, "iteration": 89_999, "optimizer": {"state": {}}}
    torch.save(checkpoint, tmp_path / "original.pth")
    assert sorted(start(tmp_path, "original.pth", content, model.backbone)["ignored"]) == sorted(DERIVED)
    check_equal(started(model), network)


def test_of_boxteacher_the_teacher_is_taken(tmp_path: Path, model: params.CondInst, started: Started) -> None:
    networks = {"student": build(model, seed=4), "teacher": build(model)}
    state = {
        f"{role}.{name}": tensor
        for role, network in networks.items()
        for name, tensor in (original_state(network) | DERIVED).items()
    }
    torch.save({"model": state}, tmp_path / "original.pth")
    ignored = start(tmp_path, "original.pth", "boxteacher")["ignored"]
    assert sorted(ignored) == sorted([*DERIVED, *(name for name in state if name.startswith("student."))])
    check_equal(started(model), networks["teacher"])


def test_both_networks_of_boxteacher_start_as_the_released_teacher(
    root: Path, tmp_path: Path, model: params.CondInst, predict_settings: params.Predict
) -> None:
    """So a run of no steps, which predicts with its teacher, shows what the file can do."""
    teacher = build(model)
    state = {f"teacher.{name}": tensor for name, tensor in original_state(teacher).items()}
    torch.save({"model": state}, tmp_path / "original.pth")
    start(tmp_path, "original.pth", "boxteacher")
    settings = load_params(root / "presets" / "coco-boxteacher.yaml").methods["box_teacher_1x"]
    file = tmp_path / "out/backbone.safetensors"
    method = build_method(settings, model, CLASSES, predict_settings, seed=0, start=file)
    assert isinstance(method, BoxTeacher)
    for network in (method.networks.student, method.networks.teacher):
        check_equal(network.eval(), teacher)
    assert method.predictor is method.networks.teacher


def test_some_names_are_as_the_authors_have_them(model: params.CondInst) -> None:
    """The table above is ours; these are literal."""
    assert {
        "backbone.bottom_up.stem.conv1.weight",
        "backbone.bottom_up.stem.conv1.norm.running_var",
        "backbone.bottom_up.res2.0.shortcut.norm.bias",
        "backbone.bottom_up.res5.1.conv3.weight",
        "backbone.bottom_up.res3.0.conv2_offset.bias",
        "backbone.fpn_lateral3.weight",
        "backbone.fpn_output5.bias",
        "backbone.top_block.p6.weight",
        "backbone.top_block.p7.bias",
        "proposal_generator.fcos_head.cls_tower.0.weight",
        "proposal_generator.fcos_head.bbox_tower.1.bias",
        "proposal_generator.fcos_head.cls_logits.bias",
        "proposal_generator.fcos_head.bbox_pred.weight",
        "proposal_generator.fcos_head.ctrness.weight",
        "proposal_generator.fcos_head.scales.4.scale",
        "controller.weight",
        "mask_branch.refine.2.1.running_mean",
        "mask_branch.tower.1.0.weight",
        "mask_branch.tower.2.bias",
    } <= original_state(build(model.model_copy(update={"deformable_stages": (3, 4, 5)}))).keys()


def test_every_tensor_returns_under_its_own_name(tmp_path: Path, model: params.CondInst) -> None:
    network = build(model)
    save_file(original_state(network), tmp_path / "original.safetensors")
    back, ignored = read_condinst(tmp_path / "original.safetensors", build_maps(RESNET), "condinst")
    own = network.state_dict()
    assert ignored == []
    assert back.keys() == own.keys()
    assert all(torch.equal(back[name], own[name]) for name in own)


def test_the_heads_of_the_reference_are_read(
    tmp_path: Path, load: Callable[[str], dict[str, Tensor]]
) -> None:
    """Names that the reference gave to a small model of its own; the backbone is not among them."""
    arrays = load("end_to_end_weights")
    torch.save({name.removeprefix("state."): value for name, value in arrays.items()}, tmp_path / "heads.pth")
    state, ignored = read_condinst(tmp_path / "heads.pth", build_maps("small"), "boxinst")
    expected = reference_state(arrays)
    assert ignored == ["mask_head.sizes_of_interest", "mask_head._iter"]
    assert state.keys() == {f"heads.{name}" for name in expected}
    assert all(torch.equal(state[f"heads.{name}"], value) for name, value in expected.items())


def test_another_number_of_classes_drops_the_class_head_with_a_line(
    tmp_path: Path, model: params.CondInst, started: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    network = build(model, classes=80)
    torch.save(original_state(network), tmp_path / "original.pth")
    start(tmp_path, "original.pth")
    other = started(model)
    line = capsys.readouterr().out
    assert re.search(r"class head is left out.*for 80 classes and the labels have 3\n$", line)
    for name, value in other.state_dict().items():
        if not name.startswith("heads.fcos_head.class_logits."):
            assert torch.equal(value, network.state_dict()[name]), name
    started(model, classes=80)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("controller.weight", None, "controller.weight: missing tensor"),
        (f"{FCOS}ctrness.bias", None, f"{FCOS}ctrness.bias: missing tensor"),
        (f"{FCOS}scales.1.scale", None, f"{FCOS}scales.1.scale: missing tensor"),
        (f"{FCOS}scales.1.scale", (5,), r"scales.1.scale: has shape \(5,\), and is one number per level"),
        (
            f"{FCOS}ctrness.weight",
            (1, 16, 3, 3),
            r"ctrness.weight: has shape \(1, 16, 3, 3\), and .*bbox_pred.weight \(4, 32, 3, 3\)",
        ),
        (
            "mask_branch.tower.3.weight",
            (4, 8, 1, 1),
            "tower.3.weight: is a second heads.mask_branch.project.weight",
        ),
        (f"{FCOS}static.weight", (1,), f"{FCOS}static.weight: is no tensor of a CondInst with this"),
        ("backbone.bottom_up.res2.7.conv1.weight", (1,), "res2.7.conv1.weight: is no tensor of a CondInst"),
        ("backbone.bifpn.1.weight", (1,), "backbone.bifpn.1.weight: is no tensor of a CondInst"),
        ("teacher.controller.weight", (1,), "teacher.controller.weight: .*correct the row's .*content"),
    ],
)
def test_what_is_missing_unknown_or_of_another_shape_is_named_in_one_line(
    tmp_path: Path, model: params.CondInst, name: str, shape: tuple[int, ...] | None, message: str
) -> None:
    state = original_state(build(model))
    if shape is None:
        del state[name]
    else:
        state[name] = torch.zeros(shape)
    torch.save(state, tmp_path / "original.pth")
    with pytest.raises(UserError, match=message) as caught:
        start(tmp_path, "original.pth")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"controller.weight": (9, 32, 3, 3)}, r"box_outputs.weight: has shape \(14, 32, 3, 3\), and the"),
        ({"backbone.fpn_lateral3.weight": None}, r"fpn.lateral.0.weight: missing tensor \(the first of 1\)"),
        ({"mask_branch.tower.1.0.weight": (8, 9, 3, 3)}, r"tower.1.0.weight: has shape \(8, 9, 3, 3\)"),
        ({f"{FCOS}cls_tower.3.bias": (32,)}, r"class_tower.3.bias: unexpected tensor"),
    ],
)
def test_another_network_of_the_kind_is_refused_when_a_run_starts(
    tmp_path: Path,
    model: params.CondInst,
    started: Started,
    change: dict[str, tuple[int, ...] | None],
    message: str,
) -> None:
    state = original_state(build(model))
    for name, shape in change.items():
        if shape is None:
            del state[name]
        else:
            state[name] = torch.zeros(shape)
    torch.save(state, tmp_path / "original.pth")
    start(tmp_path, "original.pth")
    with pytest.raises(UserError, match=message) as caught:
        started(model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("prefixes", "message"),
    [
        ([""], r"no tensor whose name begins with teacher\..*set the row's content to boxinst"),
        (["teacher.", "tutor."], "tutor.*is no tensor of a CondInst"),
    ],
)
def test_a_file_that_is_no_checkpoint_of_boxteacher_is_refused(
    tmp_path: Path, model: params.CondInst, prefixes: list[str], message: str
) -> None:
    state = original_state(build(model))
    torch.save(
        {f"{prefix}{name}": tensor for prefix in prefixes for name, tensor in state.items()},
        tmp_path / "original.pth",
    )
    with pytest.raises(UserError, match=message):
        start(tmp_path, "original.pth", "boxteacher")


class Attack:
    """What makes a reader of pickles write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(
    ("file", "message"),
    [("model_final.pkl", "is a pickle, which may run code"), ("model_final.pth", "cannot be read as plain")],
)
def test_code_in_a_file_is_not_run(tmp_path: Path, file: str, message: str) -> None:
    content = {"model": {"controller.weight": Attack(tmp_path / "ran")}}
    if file.endswith(".pkl"):
        (tmp_path / file).write_bytes(pickle.dumps(content))
    else:
        torch.save(content, tmp_path / file)
    with pytest.raises(UserError, match=message):
        start(tmp_path, file)
    assert not (tmp_path / "ran").exists()
