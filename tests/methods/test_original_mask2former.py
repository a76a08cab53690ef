"""Weights under the names of Mask2Former's authors become the start of a run, for ResNets and Swins."""

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
from pipeline.methods.pretraining.start import write_backbone_start
from pipeline.models.build import build_network
from pipeline.models.mask2former.network import Mask2Former, build_mask2former
from tests.mask2former_settings import small_mask2former

CLASSES = 3
RESNET, SWIN = "resnet18", "swin_tiny_patch4_window7_224"
HEADS = {  # ours: the original's
    r"pixel_decoder\.input_projections\.": "pixel_decoder.input_proj.",
    r"pixel_decoder\.level_embed": "pixel_decoder.transformer.level_embed",
    r"pixel_decoder\.encoder\.": "pixel_decoder.transformer.encoder.",
    r"pixel_decoder\.(adapter|layer)_1\.0\.": r"pixel_decoder.\1_1.",
    r"pixel_decoder\.(adapter|layer)_1\.1\.": r"pixel_decoder.\1_1.norm.",
    r"pixel_decoder\.mask_projection\.": "pixel_decoder.mask_features.",
    r"query_decoder\.queries_features\.": "predictor.query_feat.",
    r"query_decoder\.queries_embedder\.": "predictor.query_embed.",
    r"query_decoder\.level_embed\.": "predictor.level_embed.",
    r"query_decoder\.decoder\.layernorm\.": "predictor.decoder_norm.",
    r"query_decoder\.decoder\.mask_predictor\.mask_embedder\.(\d)\.0\.": r"predictor.mask_embed.layers.\1.",
    r"class_predictor\.": "predictor.class_embed.",
}
LAYERS = {
    "self_attn": "transformer_self_attention_layers.{}.self_attn",
    "self_attn_layer_norm": "transformer_self_attention_layers.{}.norm",
    "cross_attn": "transformer_cross_attention_layers.{}.multihead_attn",
    "cross_attn_layer_norm": "transformer_cross_attention_layers.{}.norm",
    "fc1": "transformer_ffn_layers.{}.linear1",
    "fc2": "transformer_ffn_layers.{}.linear2",
    "final_layer_norm": "transformer_ffn_layers.{}.norm",
}
ENCODER = {"fc1": "linear1", "fc2": "linear2", "self_attn_layer_norm": "norm1", "final_layer_norm": "norm2"}


def original_name(name: str) -> str:
    """The original's name of one of our tensors, but for those of the backbone."""
    if match := re.match(r"query_decoder\.decoder\.layers\.(\d+)\.(\w+)\.(.*)", name):
        return f"sem_seg_head.predictor.{LAYERS[match[2]].format(match[1])}.{match[3]}"
    for ours, theirs in HEADS.items():
        name, changed = re.subn(rf"^{ours}", theirs, name)
        if changed:
            break
    else:
        raise AssertionError(f"no name for {name}")
    if match := re.match(r"(.*encoder\.layers\.\d+\.)(\w+)(.*)", name):
        name = match[1] + ENCODER.get(match[2], match[2]) + match[3]
    return f"sem_seg_head.{name}"


def resnet_name(name: str) -> str:
    for stage in range(1, 5):
        name = name.replace(f"layer{stage}.", f"res{stage + 1}.")
    name = re.sub(r"bn(\d)\.", r"conv\1.norm.", name)
    name = name.replace("downsample.0.", "shortcut.").replace("downsample.1.", "shortcut.norm.")
    return name if name.startswith("res") else f"stem.{name}"


def swin_name(name: str) -> str:
    for stage in range(3):
        name = name.replace(f"layers_{stage + 1}.downsample.", f"layers.{stage}.downsample.")
    return re.sub(r"^layers_(\d)\.", r"layers.\1.", name)


def original_state(network: Mask2Former) -> dict[str, Tensor]:
    """The network as its authors would store it."""
    state, fused = {}, {}
    rename = swin_name if network.pyramid.backbone_norms else resnet_name
    for name, tensor in network.state_dict().items():
        if name.startswith("backbone.network."):
            state[f"backbone.{rename(name.removeprefix('backbone.network.'))}"] = tensor
        elif match := re.fullmatch(r"pyramid\.backbone_norms\.(\d)\.(.*)", name):
            state[f"backbone.norm{match[1]}.{match[2]}"] = tensor
        elif match := re.fullmatch(r"(.*decoder\.layers\.\d\.self_attn\.)([qkv])_proj\.(weight|bias)", name):
            fused.setdefault(f"{match[1]}in_proj_{match[3]}", {})[match[2]] = tensor
        else:
            state[original_name(name)] = tensor
    for name, parts in fused.items():
        state[original_name(name)] = torch.cat([parts[part] for part in "qkv"])
    return state


def build(name: str, classes: int = CLASSES, **changes: Any) -> Mask2Former:
    torch.manual_seed(1)
    model = small_mask2former(backbone=name, **changes)
    network = build_mask2former(model, classes).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.05)
    for buffer in network.backbone.buffers():  # batch statistics
        if buffer.is_floating_point():
            nn.init.uniform_(buffer, 0.5, 2)
    return network


def start(folder: Path, name: str, file: str, content: Any = "mask2former") -> dict[str, Any]:
    section = params.WeightFile(architecture=name, path=file, content=content)
    write_backbone_start(
        section, folder / "out", root=folder, checkpoint=folder / "checkpoint", key="key", name="start"
    )
    return json.loads((folder / "out/backbone.json").read_text())


Started = Callable[..., Any]


@pytest.fixture
def started(predict_settings: params.Predict, tmp_path: Path) -> Started:
    """The network of a run that begins from the written start."""

    def build(name: str, classes: int = CLASSES, **changes: Any) -> nn.Module:
        torch.manual_seed(2)
        model = small_mask2former(backbone=name, **changes)
        return build_network(model, classes, predict_settings, tmp_path / "out/backbone.safetensors").eval()

    return build


def check_equal(network: nn.Module, other: nn.Module) -> None:
    images = torch.rand(1, 3, 96, 64, generator=torch.Generator().manual_seed(3)) * 255
    with torch.no_grad():
        for one, two in zip(network(images, [(96, 64)]), other(images, [(96, 64)]), strict=True):
            for part, wanted in zip(one, two, strict=True):
                assert torch.equal(part, wanted)


@pytest.mark.parametrize(("name", "frozen"), [(RESNET, False), (RESNET, True), (SWIN, False)])
def test_original_weights_make_the_same_network(
    tmp_path: Path, started: Started, name: str, frozen: bool
) -> None:
    network = build(name, frozen_batchnorm=frozen)
    state = original_state(network)
    state["criterion.empty_weight"] = torch.ones(CLASSES + 1)
    if name == SWIN:
        state["backbone.layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49)
    torch.save({"model": state, "iteration": 7}, tmp_path / "original.pth")
    about = start(tmp_path, name, "original.pth")
    assert all(name.endswith(("empty_weight", "relative_position_index")) for name in about["ignored"])
    check_equal(started(name, frozen_batchnorm=frozen), network)


def test_some_names_are_as_the_authors_have_them(tmp_path: Path) -> None:
    """The table above is ours; these are literal."""
    names = original_state(build(RESNET)).keys()
    assert {
        "backbone.stem.conv1.weight",
        "backbone.stem.conv1.norm.running_mean",
        "backbone.res3.0.shortcut.norm.weight",
        "sem_seg_head.pixel_decoder.input_proj.0.1.weight",
        "sem_seg_head.pixel_decoder.transformer.encoder.layers.0.self_attn.sampling_offsets.weight",
        "sem_seg_head.pixel_decoder.transformer.encoder.layers.0.norm2.bias",
        "sem_seg_head.pixel_decoder.adapter_1.norm.weight",
        "sem_seg_head.pixel_decoder.layer_1.weight",
        "sem_seg_head.predictor.query_feat.weight",
        "sem_seg_head.predictor.transformer_self_attention_layers.1.self_attn.in_proj_weight",
        "sem_seg_head.predictor.transformer_cross_attention_layers.0.multihead_attn.in_proj_bias",
        "sem_seg_head.predictor.transformer_ffn_layers.1.linear2.weight",
        "sem_seg_head.predictor.mask_embed.layers.2.weight",
        "sem_seg_head.predictor.class_embed.bias",
    } <= names


def test_safetensors_are_read(tmp_path: Path, started: Started) -> None:
    network = build(RESNET)
    save_file(original_state(network), tmp_path / "original.safetensors")
    start(tmp_path, RESNET, "original.safetensors")
    check_equal(started(RESNET), network)


def test_another_number_of_classes_drops_the_class_head_with_a_line(
    tmp_path: Path, started: Started, capsys
) -> None:
    network = build(RESNET, classes=80)
    torch.save(original_state(network), tmp_path / "original.pth")
    start(tmp_path, RESNET, "original.pth")
    other = started(RESNET)
    line = capsys.readouterr().out
    assert re.search(r"class head is left out.*for 80 classes and the labels have 3\n$", line)
    assert other.class_predictor.out_features == CLASSES + 1
    for name, value in other.state_dict().items():
        if not name.startswith("class_predictor."):
            assert torch.equal(value, network.state_dict()[name]), name
    started(RESNET, classes=80)
    assert capsys.readouterr().out == ""


def test_its_backbone_alone_is_a_start(tmp_path: Path, started: Started) -> None:
    torch.manual_seed(4)
    torch.save(build(RESNET).backbone.network.state_dict(), tmp_path / "backbone.pth")
    start(tmp_path, RESNET, "backbone.pth", content="backbone")
    network = started(RESNET)
    assert torch.equal(network.backbone.network.conv1.weight, build(RESNET).backbone.network.conv1.weight)


def other_queries(state: dict[str, Tensor]) -> None:
    state["sem_seg_head.predictor.query_feat.weight"] = torch.zeros(100, 32)


def fewer_layers(state: dict[str, Tensor]) -> None:
    for name in [name for name in state if "_layers.1." in name]:
        del state[name]


def more_layers(state: dict[str, Tensor]) -> None:
    state["sem_seg_head.predictor.transformer_ffn_layers.2.linear1.bias"] = torch.zeros(64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_queries, r"queries_features.weight: has shape \(100, 32\), and the network needs \(6, 32\)"),
        (fewer_layers, "query_decoder.decoder.layers.1.*: missing tensor"),
        (more_layers, r"query_decoder.decoder.layers.2.fc1.bias: unexpected tensor \(the first of 1\)"),
    ],
)
def test_another_network_of_the_kind_is_refused_when_a_run_starts(
    tmp_path: Path, started: Started, change, message: str
) -> None:
    state = original_state(build(RESNET))
    change(state)
    torch.save(state, tmp_path / "original.pth")
    start(tmp_path, RESNET, "original.pth")
    with pytest.raises(UserError, match=message) as caught:
        started(RESNET)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["sem_seg_head.predictor.static.weight", "backbone.res2.7.conv1.weight", "x"]
)
def test_other_tensors_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    torch.save(original_state(build(RESNET)) | {name: torch.zeros(1)}, tmp_path / "original.pth")
    with pytest.raises(
        UserError, match=f"{re.escape(name)}: is no tensor of a Mask2Former with this backbone"
    ):
        start(tmp_path, RESNET, "original.pth")
    assert not (tmp_path / "out").exists()


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "model_final.pkl").write_bytes(pickle.dumps({"model": Malicious()}))
    with pytest.raises(
        UserError, match=r"is a pickle, which may run code.*convert it as docs/recipes\.md says"
    ):
        start(tmp_path, RESNET, "model_final.pkl")
    assert not (tmp_path / "ran").exists()
