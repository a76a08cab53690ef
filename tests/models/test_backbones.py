"""Backbones: strides and channels, freezing, loading, and one-line refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.models.backbones import Backbone, build_backbone, load_backbone
from pipeline.models.frozen_batchnorm import FrozenBatchNorm
from pipeline.weights import save_weights

SMALL_RESNET = "resnet10t"
BATCHNORM_WITH_ACTIVATION = "mobilenetv3_small_050"  # one module of timm's does both
SMALL_SWIN = "swin_tiny_patch4_window7_224"


def build(name: str, frozen_stages: int = 0, frozen_batchnorm: bool = False) -> Backbone:
    torch.manual_seed(0)
    return build_backbone(name, frozen_stages=frozen_stages, frozen_batchnorm=frozen_batchnorm)


def frozen(backbone: Backbone) -> list[str]:
    return [name for name, value in backbone.network.named_parameters() if not value.requires_grad]


@pytest.mark.parametrize("name", ["small", SMALL_RESNET, "mobilenetv3_small_050", SMALL_SWIN])
def test_maps_have_the_stated_strides_and_channels(name: str) -> None:
    backbone = build(name).eval()
    maps = backbone(torch.rand(1, 3, 64, 96))
    assert {stride: tuple(value.shape) for stride, value in maps.items()} == {
        stride: (1, channels, 64 // stride, 96 // stride) for stride, channels in backbone.channels.items()
    }


def test_small_is_as_described() -> None:
    backbone = build("small")
    assert backbone.channels == {2: 16, 4: 32, 8: 64, 16: 128}
    assert not [layer for layer in backbone.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert 400_000 < sum(value.numel() for value in backbone.parameters()) < 600_000


def test_input_must_be_a_multiple_of_the_coarsest_stride() -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        build("small")(torch.rand(1, 3, 64, 72))


@pytest.mark.parametrize(
    ("stages", "last"), [(1, "stem.1.bias"), (2, "stages.0.1.norm.bias"), (4, "stages.2.1.norm.bias")]
)
def test_freezing_stops_gradients_up_to_a_stage(stages: int, last: str) -> None:
    backbone = build("small", stages)
    names = [name for name, _ in backbone.network.named_parameters()]
    assert frozen(backbone) == names[: names.index(last) + 1]


@pytest.mark.parametrize(
    ("name", "prefixes"),
    [(SMALL_RESNET, ("conv1.", "bn1.", "layer1.")), (SMALL_SWIN, ("patch_embed.", "layers_0."))],
)
def test_two_frozen_stages_are_the_stem_and_the_first(name: str, prefixes: tuple[str, ...]) -> None:
    backbone = build(name, 2)
    trained = [key for key, value in backbone.network.named_parameters() if value.requires_grad]
    assert frozen(backbone)
    assert not [key for key in trained if key.startswith(prefixes)]
    assert trained == [
        key for key, _ in build(name).network.named_parameters() if not key.startswith(prefixes)
    ]


@pytest.mark.parametrize(
    ("name", "prefixes"),
    [
        (SMALL_RESNET, ("conv1.", "bn1.", "layer1.")),
        (BATCHNORM_WITH_ACTIVATION, ("conv_stem.", "bn1.", "blocks.0.")),
    ],
)
def test_frozen_stages_keep_their_batch_statistics_in_training(name: str, prefixes: tuple[str, ...]) -> None:
    backbone = build(name, 2).train()
    before = {key: value.clone() for key, value in backbone.network.state_dict().items()}
    backbone(torch.rand(2, 3, 64, 64))
    after = backbone.network.state_dict()
    changed = [key for key, value in after.items() if not torch.equal(value, before[key])]
    assert not [key for key in changed if key.startswith(prefixes)]
    counted = {key for key in after if key.endswith("num_batches_tracked")}
    assert counted == {key for key in changed if key.endswith("num_batches_tracked")}
    assert counted


@pytest.mark.parametrize("name", [SMALL_RESNET, BATCHNORM_WITH_ACTIVATION])
def test_frozen_batchnorm_keeps_half_precision(name: str) -> None:
    """A float32 result would double the memory of all activations in mixed precision."""
    backbone = build(name, frozen_batchnorm=True)
    dtypes = []
    for layer in backbone.modules():
        if isinstance(layer, FrozenBatchNorm):
            layer.register_forward_hook(
                lambda _, inputs, output: dtypes.append((inputs[0].dtype, output.dtype))
            )
    images = torch.rand(1, 3, 64, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        backbone(images)
    assert set(dtypes) == {(torch.bfloat16, torch.bfloat16)}
    backbone(images)
    assert dtypes[-1] == (torch.float32, torch.float32)


@pytest.mark.parametrize("name", [SMALL_RESNET, BATCHNORM_WITH_ACTIVATION])
def test_frozen_batchnorm_computes_what_batchnorm_does_in_evaluation(name: str) -> None:
    images = torch.rand(2, 3, 64, 64)
    ordinary = build(name).eval()
    for layer in ordinary.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_var, 0.5, 2)
    fixed = build(name, frozen_batchnorm=True).train()
    fixed.network.load_state_dict(ordinary.network.state_dict(), strict=False)
    for wanted, got in zip(ordinary(images).values(), fixed(images).values(), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "stages", "message"),
    [
        ("resnet5000", 0, "list names by"),
        ("resnet50.nobody", 0, "Invalid pretrained tag"),
        ("vit_tiny_patch16_224", 0, "growing ones"),
        ("small", 5, "choose a smaller frozen_stages"),
    ],
)
def test_a_user_is_told_what_is_wrong(name: str, stages: int, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        build(name, stages)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_weights_come_back(tmp_path: Path) -> None:
    saved, loaded = build(SMALL_RESNET), build(SMALL_RESNET, 2, frozen_batchnorm=True)
    nn.init.constant_(loaded.network.layer4[0].conv1.weight, 7)
    save_weights(saved.network, tmp_path / "backbone.safetensors")
    load_backbone(loaded, tmp_path / "backbone.safetensors")
    original = saved.network.state_dict()
    for name, value in loaded.network.state_dict().items():
        assert torch.equal(value, original[name]), name


def test_an_empty_file_keeps_the_random_start(tmp_path: Path) -> None:
    backbone = build("small")
    before = backbone.network.stem[0].weight.clone()
    save_weights(nn.Module(), tmp_path / "backbone.safetensors")
    load_backbone(backbone, tmp_path / "backbone.safetensors")
    assert torch.equal(backbone.network.stem[0].weight, before)


def _without(state: dict[str, Tensor]) -> None:
    del state["stem.0.weight"]


def _with(state: dict[str, Tensor]) -> None:
    state["extra.weight"] = torch.zeros(1)


def _reshaped(state: dict[str, Tensor]) -> None:
    state["stem.0.weight"] = torch.zeros(16, 3, 5, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without, "stem.0.weight: missing"),
        (_with, "extra.weight: unexpected"),
        (_reshaped, r"stem.0.weight: has shape \(16, 3, 5, 5\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, change, message: str) -> None:
    backbone = build("small")
    state = dict(backbone.network.state_dict())
    change(state)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=message):
        load_backbone(backbone, tmp_path / "w.safetensors")


def test_a_missing_or_damaged_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="file not found"):
        load_backbone(build("small"), tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"not weights")
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load_backbone(build("small"), tmp_path / "bad.safetensors")
