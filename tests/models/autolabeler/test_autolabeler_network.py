"""The whole auto-labeler: every encoder of the paper, crops that fit, weights that it starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.models.autolabeler.encoders import SummedMaps
from pipeline.models.autolabeler.network import AutoLabeler, build_autolabeler, load_encoder
from pipeline.models.backbones import build_maps
from pipeline.weights import save_weights
from tests.autolabeler_settings import published_autolabeler, small_autolabeler

AREAS = torch.tensor([400.0, 30000.0])
VIT = "vit_tiny_patch16_224"


def small(**changes: object) -> AutoLabeler:
    torch.manual_seed(0)
    return build_autolabeler(small_autolabeler(**changes))


@pytest.mark.parametrize(
    ("name", "crop", "side", "channels", "parameters"),
    [  # parameters of the encoder: those of the classifiers without head (and, with stages, last norm)
        ("deit_small_patch16_224", 512, 32, 384, 21_665_664),
        ("deit_base_patch16_224", 512, 32, 768, 85_798_656),
        ("vit_base_patch16_224.mae", 512, 32, 768, 85_798_656),
        ("vit_large_patch16_224.mae", 512, 32, 1024, 303_301_632),
        ("vit_huge_patch14_224.mae", 504, 36, 1280, 630_764_800),
        ("swin_tiny_patch4_window7_224", 512, 32, 768, 27_517_818),
        ("swin_base_patch4_window7_224", 512, 32, 1024, 86_741_176),
        ("convnext_tiny", 512, 32, 768, 27_818_592),
        ("convnext_base", 512, 32, 1024, 87_564_416),
    ],
)
def test_every_encoder_builds(name: str, crop: int, side: int, channels: int, parameters: int) -> None:
    with torch.device("meta"):
        network = build_autolabeler(published_autolabeler(backbone=name, crop_size=crop))
    assert sum(value.numel() for value in network.encoder.parameters()) == parameters
    assert (network.encoder.channels, crop // network.encoder.stride) == (channels, side)


def test_the_convolutional_stem_replaces_the_projection() -> None:
    with torch.device("meta"):
        network = build_autolabeler(published_autolabeler(stem="conv"))
    names = [key for key in network.state_dict() if ".patch_embed." in key]
    assert len(names) == 14
    assert not [key for key in names if ".proj." in key]


@pytest.mark.parametrize("name", [VIT, "swin_tiny_patch4_window7_224", "convnext_atto"])
def test_a_tiny_crop_runs_and_learns(name: str) -> None:
    torch.manual_seed(0)
    network = build_autolabeler(small_autolabeler(backbone=name, output_scale=4))
    images = network.normalise(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))
    assert network.tokens(images).shape == (2, network.encoder.channels, 4, 4)
    logits = network(images, AREAS)
    assert logits.shape == (2, 16, 16)
    logits.square().mean().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


@pytest.mark.parametrize("name", ["small", VIT, "swin_tiny_patch4_window7_224", "convnext_atto"])
def test_nothing_in_training_is_left_to_chance(name: str) -> None:
    """No drop path and no dropout; timm's Swin has the former unless told otherwise."""
    network = small(backbone=name, output_scale=4).train()
    images = torch.rand(8, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network.tokens(images), network.tokens(images))


def test_the_small_encoder_has_stride_4() -> None:
    network = small()
    assert isinstance(network.encoder, SummedMaps)
    assert network.tokens(torch.rand(2, 3, 64, 64)).shape == (2, 64, 16, 16)
    logits = network(torch.rand(2, 3, 64, 64), AREAS)
    assert logits.shape == (2, 32, 32)
    logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_small_encoder_sums_its_projected_maps() -> None:
    network, images = small(), torch.rand(1, 3, 64, 64)
    whole = network.tokens(images)
    parts = torch.zeros_like(whole)
    for kept in range(3):
        alone = small()
        for index, projection in enumerate(alone.encoder.projections):
            if index != kept:
                nn.init.zeros_(projection.weight)
                nn.init.zeros_(projection.bias)
        parts = parts + alone.tokens(images)
    torch.testing.assert_close(whole, parts)


def test_a_map_of_stride_32_is_enlarged_to_the_grid_of_16() -> None:
    torch.manual_seed(0)
    network = build_autolabeler(small_autolabeler(backbone="convnext_atto")).eval()
    images = torch.rand(1, 3, 64, 64)
    last = network.encoder.backbone(images)[32]
    wanted = nn.functional.interpolate(last, size=(4, 4), mode="bilinear")
    torch.testing.assert_close(network.tokens(images), wanted)


@pytest.mark.parametrize(
    ("name", "crop", "message"),
    [
        (VIT, 72, "use a multiple of 16"),
        ("vit_huge_patch14_224.mae", 512, "use a multiple of 14"),
        ("convnext_atto", 80, "use a multiple of 32"),
        ("small", 40, "use a multiple of 16"),
    ],
)
def test_crops_must_fit(name: str, crop: int, message: str) -> None:
    with torch.device("meta"), pytest.raises(UserError, match=message) as caught:
        build_autolabeler(published_autolabeler(backbone=name, crop_size=crop))
    assert name in str(caught.value)
    assert str(crop) in str(caught.value)


def test_normalising_takes_bytes_and_keeps_no_state() -> None:
    network = small()
    image = torch.tensor([124, 116, 104], dtype=torch.uint8)[:, None, None].expand(3, 2, 2)
    wanted = (torch.tensor([124, 116, 104.0]) - torch.tensor([123.675, 116.28, 103.53])) / torch.tensor(
        [58.395, 57.12, 57.375]
    )
    torch.testing.assert_close(network.normalise(image)[:, 0, 0], wanted)
    assert not [name for name in network.state_dict() if name in ("mean", "std")]


# --- what it starts from ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("start") / "backbone.safetensors"
    torch.manual_seed(7)
    save_weights(build_maps(VIT).network, path)
    return path


def encoder_state(network: AutoLabeler) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in network.encoder.backbone.network.state_dict().items()}


def test_a_start_fills_the_encoder(start: Path) -> None:
    network = small(backbone=VIT)
    assert load_encoder(network, start) == []
    torch.manual_seed(7)
    wanted = build_maps(VIT).network.state_dict()
    loaded = encoder_state(network)
    assert all(torch.equal(loaded[key], value) for key, value in wanted.items())


def test_a_convolutional_stem_keeps_its_random_weights_and_says_so(start: Path) -> None:
    network = small(backbone=VIT, stem="conv")
    before = encoder_state(network)
    assert load_encoder(network, start) == ["patch_embed.proj.bias", "patch_embed.proj.weight"]
    after = encoder_state(network)
    same = [key for key in after if torch.equal(before[key], after[key])]
    assert {key for key in after if key.startswith("patch_embed.")} <= set(same)
    assert "pos_embed" not in same
    assert "blocks.0.attn.qkv.weight" not in same


def test_an_empty_start_changes_nothing(tmp_path: Path) -> None:
    save_weights(nn.Module(), tmp_path / "empty.safetensors")
    network = small(backbone=VIT)
    before = encoder_state(network)
    assert load_encoder(network, tmp_path / "empty.safetensors") == []
    assert all(torch.equal(value, before[key]) for key, value in encoder_state(network).items())


def test_a_start_of_another_network_is_refused(tmp_path: Path) -> None:
    save_file(build_maps("small").network.state_dict(), tmp_path / "w.safetensors")
    for stem in ("patch", "conv"):
        with pytest.raises(UserError, match="missing tensor"):
            load_encoder(small(backbone=VIT, stem=stem), tmp_path / "w.safetensors")
