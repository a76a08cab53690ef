"""Mask2Former as the methods see it: shapes, order, precision, and what the library does not spoil."""

from __future__ import annotations

import copy
import socket
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.engine.optimizer import parameter_groups
from pipeline.errors import UserError
from pipeline.models.mask2former.network import Mask2Former, build_mask2former
from tests.engine.tiny_training import settings
from tests.mask2former_settings import small_mask2former

CLASSES = 3
SIZES = [(96, 64), (80, 50)]
RESNET, SWIN, VIT = "resnet10t", "swin_tiny_patch4_window7_224", "vit_tiny_patch16_224"


def build(**changes: Any) -> Mask2Former:
    torch.manual_seed(0)
    return build_mask2former(small_mask2former(**changes), CLASSES)


def images() -> Tensor:
    return torch.rand(2, 3, 96, 64, generator=torch.Generator().manual_seed(1)) * 255


def total(network: Mask2Former) -> Tensor:
    return torch.stack(
        [part.square().mean() for prediction in network(images(), SIZES) for part in prediction]
    ).sum()


@pytest.mark.parametrize("training", [True, False])
def test_predictions_of_queries_and_of_each_layer_at_the_finest_stride(training: bool) -> None:
    for strides, shape in ((4, 8, 16, 32), (24, 16)), ((2, 4, 8, 16), (48, 32)):
        network = build(feature_strides=strides, decoder_layers=3).train(training)
        predictions = network(images(), SIZES)
        assert len(predictions) == 1 + len(network.query_decoder.decoder.layers) == 4
        for classes, masks in predictions:
            assert classes.shape == (2, 6, CLASSES + 1)
            assert masks.shape == (2, 6, *shape)


def test_the_final_layer_comes_first_and_the_bare_queries_next() -> None:
    network = build().eval()
    before = network(images(), SIZES)
    nn.init.normal_(network.query_decoder.decoder.layers[1].fc2.weight)
    after = network(images(), SIZES)
    same = [torch.equal(a.class_logits, b.class_logits) for a, b in zip(before, after, strict=True)]
    assert same == [False, True, True]
    queries = network.query_decoder.decoder.layernorm(network.query_decoder.queries_features.weight)
    torch.testing.assert_close(before[1].class_logits[0], network.class_predictor(queries))


@pytest.mark.parametrize("name", [RESNET, SWIN])
def test_timms_networks_are_backbones(name: str) -> None:
    network = build(backbone=name)
    assert network(images(), SIZES)[0].mask_logits.shape == (2, 6, 24, 16)
    assert network.padding_divisor == 32


@pytest.mark.parametrize("pyramid", ["nearest", "bilinear"])
def test_a_plain_transformer_is_a_backbone(pyramid: str) -> None:
    network = build(backbone=VIT, pyramid=pyramid)
    assert network(images(), SIZES)[0].mask_logits.shape == (2, 6, 24, 16)
    assert network.padding_divisor == 32


def test_levels_beyond_the_backbone_pad_the_images() -> None:
    assert build().padding_divisor == 32
    assert build(feature_strides=(2, 4, 8, 16)).padding_divisor == 16


def test_a_copy_has_weights_of_its_own() -> None:
    """The library keeps its convolutions in lists, too, where a copy might still find the old ones."""
    network = build().eval()
    twin = copy.deepcopy(network)
    with torch.no_grad():
        expected = network(images(), SIZES)
        for parameter in network.parameters():
            parameter.zero_()
        torch.testing.assert_close(twin(images(), SIZES), expected)


@pytest.mark.parametrize(
    ("changes", "own_rate"),
    [
        ({}, None),
        ({"backbone": SWIN}, "backbone_norms"),
        ({"backbone": VIT, "pyramid": "bilinear"}, "backbone_projections"),
    ],
)
def test_every_parameter_learns_and_all_but_the_backbone_at_the_full_rate(
    changes: dict[str, Any], own_rate: str | None
) -> None:
    """As in the releases, where a Swin's last norms and a transformer's projections are in the backbone."""
    network = build(**changes)
    total(network).backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []
    slow = [
        group["params"]
        for group in parameter_groups(network, settings(backbone_rate=0.1, learning_rate=1.0))
        if group["lr"] < 1
    ]
    parts = [network.backbone, *([getattr(network.pyramid, own_rate)] if own_rate else [])]
    own = {id(parameter) for part in parts for parameter in part.parameters()}
    assert {id(parameter) for group in slow for parameter in group} == own


def test_half_precision_leaves_predictions_and_the_pixel_decoder_in_float32() -> None:
    network, dtypes = build(), []
    network.pixel_decoder.encoder.layers[0].register_forward_hook(
        lambda _, inputs, outputs: dtypes.append(outputs[0].dtype)
    )
    whole = network(images(), SIZES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        halves = network(images(), SIZES)
        loss = total(network)
    loss.backward()
    assert {part.dtype for prediction in halves for part in prediction} == {torch.float32}
    assert set(dtypes) == {torch.float32}
    for half, exact in zip(halves, whole, strict=True):
        torch.testing.assert_close(half.class_logits, exact.class_logits, rtol=0, atol=0.2)


def test_training_draws_nothing_and_predicts_as_evaluation_does() -> None:
    network = build(decoder_layers=3)
    state = torch.get_rng_state()
    trained = network.train()(images(), SIZES)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(trained, network.eval()(images(), SIZES), rtol=0, atol=0)


def test_training_goes_on_after_prediction() -> None:
    """The library keeps a table of positions, which may have been made in inference mode."""
    network = build()
    with torch.inference_mode():
        network(images(), SIZES)
    total(network).backward()


class Waits(TorchDispatchMode):
    """Counts operations at which a GPU's host would wait for a number."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        names = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal")
        self.count += function._overloadpacket.__name__ in names
        return function(*args, **(kwargs or {}))


def test_the_host_never_waits_for_the_device() -> None:
    network = build()
    for prepare in (lambda: None, network.eval, network.train):
        prepare()
        with Waits() as waits:
            total(network).backward()
        assert waits.count == 0
    with waits:
        bool(torch.isfinite(images()).all())
    assert waits.count == 1


def test_padding_is_zero_whatever_it_held() -> None:
    network, padded = build().eval(), images()
    with torch.no_grad():
        before = network(padded, SIZES)
        padded[1, :, 80:], padded[1, :, :, 50:] = 77, 99
        torch.testing.assert_close(network(padded, SIZES), before, rtol=0, atol=0)


def test_the_state_holds_tensors_of_the_network_alone() -> None:
    network = build()
    assert {name.split(".")[0] for name in network.state_dict()} == {
        "backbone",
        "pyramid",
        "pixel_decoder",
        "query_decoder",
        "class_predictor",
    }
    assert network.state_dict().keys() == dict(network.named_parameters()).keys()


def test_construction_asks_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("asked a host")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    build(backbone=RESNET)


def test_batch_norms_keep_timms_start() -> None:
    """The library would draw their scales from a narrow normal distribution."""
    network = build(backbone=RESNET).backbone.network
    assert torch.equal(network.bn1.weight, torch.ones_like(network.bn1.weight))
    assert torch.equal(network.bn1.running_var, torch.ones_like(network.bn1.running_var))


@pytest.mark.parametrize(("rate", "first", "last"), [(0.3, 0.0, 0.3), (0.0, 0.0, 0.0)])
def test_drop_path_rises_to_its_rate(rate: float, first: float, last: float) -> None:
    blocks = [
        block for block in build(backbone=SWIN, drop_path=rate).modules() if hasattr(block, "drop_path1")
    ]
    rates = [
        block.drop_path1.drop_prob if isinstance(block.drop_path1, DropPath) else 0.0 for block in blocks
    ]
    assert rates == sorted(rates)
    assert (rates[0], rates[-1]) == pytest.approx((first, last))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_channels": 48}, "multiple of 32"),
        ({"heads": 5}, "hidden_channels must be a multiple of heads"),
        ({"feature_strides": (4, 8, 16, 64)}, "feature_strides must double"),
        ({"feature_strides": (1, 2, 4, 8)}, "stride 2, 4, 8 and 16 only"),
        ({"drop_path": 0.1}, "drop_path must be 0 with the backbone small"),
        ({"decoder_layers": 0}, "greater than 0"),
        ({"pyramid": "nearest"}, "pyramid must be stages with the backbone small"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        small_mask2former(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": VIT}, "plain transformer without stages.*set pyramid to nearest or bilinear"),
        ({"backbone": RESNET, "pyramid": "bilinear"}, "set pyramid to stages"),
        ({"backbone": "vgg11", "drop_path": 0.3}, "set drop_path to 0"),
        ({"backbone": VIT, "pyramid": "nearest", "frozen_stages": 2}, "frozen_stages 2 is not possible"),
    ],
)
def test_what_does_not_fit_the_backbone_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        build(**changes)
    assert "\n" not in str(caught.value)


def test_a_backbone_without_the_finest_stride_is_named() -> None:
    with pytest.raises(UserError, match="do not start with strides of the backbone"):
        build(backbone=SWIN, feature_strides=(2, 4, 8, 16))
