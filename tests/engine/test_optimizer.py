from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import nn

from pipeline.engine.optimizer import make_optimizer, parameter_groups, scale_rates
from tests.mal_vectors import arrays


def network() -> nn.Module:
    backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))
    backbone[0].requires_grad_(False)
    neck = nn.Sequential(nn.Conv2d(4, 4, 1), nn.GroupNorm(2, 4))
    return nn.ModuleDict({"backbone": backbone, "neck": neck})


def test_groups_by_rate_and_decay(tiny: ModuleType) -> None:
    module = network()
    training = tiny.settings(learning_rate=0.5, backbone_rate=0.1, weight_decay=0.3, norm_weight_decay=0.2)
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    groups = {
        (group["lr"], group["weight_decay"]): [names[id(item)] for item in group["params"]]
        for group in parameter_groups(module, training)
    }
    assert groups == {
        (0.05, 0.2): ["backbone.1.weight", "backbone.1.bias"],
        (0.05, 0.3): ["backbone.2.weight", "backbone.2.bias"],
        (0.5, 0.3): ["neck.0.weight", "neck.0.bias"],
        (0.5, 0.2): ["neck.1.weight", "neck.1.bias"],
    }


def test_parts_of_the_backbone_elsewhere_learn_at_its_rate(tiny: ModuleType) -> None:
    pyramid = nn.ModuleDict({"backbone_norms": nn.LayerNorm(2), "coarser": nn.Linear(2, 2)})
    module = nn.ModuleDict({"student": nn.ModuleDict({"pyramid": pyramid}), "backbones": nn.Linear(2, 2)})
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    slow = [
        names[id(item)]
        for group in parameter_groups(module, tiny.settings(learning_rate=0.5, backbone_rate=0.1))
        for item in group["params"]
        if group["lr"] == 0.05
    ]
    assert slow == [f"student.pyramid.backbone_norms.{part}" for part in ("weight", "bias")]


def test_tables_decay_as_norms_do(tiny: ModuleType) -> None:
    """As Mask2Former's recipe has it: embeddings and Swin's tables of positions; plain parameters decay."""
    attention = nn.Linear(2, 2)
    attention.relative_position_bias_table = nn.Parameter(torch.zeros(3, 2))
    attention.level_embed = nn.Parameter(torch.zeros(3, 2))
    module = nn.ModuleDict({"queries": nn.Embedding(4, 2), "backbone": nn.ModuleDict({"attn": attention})})
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    training = tiny.settings(weight_decay=0.3, norm_weight_decay=0.0)
    decays = {
        names[id(item)]: group["weight_decay"]
        for group in parameter_groups(module, training)
        for item in group["params"]
    }
    spared = {"queries.weight", "backbone.attn.relative_position_bias_table"}
    assert decays == {name: 0.0 if name in spared else 0.3 for name in names.values()}


def test_frozen_parameters_stay(tiny: ModuleType) -> None:
    module = network()
    before = module.backbone[0].weight.clone()
    optimizer = make_optimizer(module, tiny.settings(weight_decay=0.5))
    sum(parameter.sum() for parameter in module.parameters()).backward()
    optimizer.step()
    torch.testing.assert_close(module.backbone[0].weight, before, rtol=0, atol=0)


def test_sgd_follows_its_formula(tiny: ModuleType) -> None:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 2.0)
    optimizer = make_optimizer(
        layer, tiny.settings(optimizer="sgd", learning_rate=0.1, momentum=0.9, weight_decay=0.5)
    )
    for expected in (2.0 - 0.1 * 2.0, 1.8 - 0.1 * (0.9 * 2.0 + 1.9)):  # gradient 1 + weight decay
        layer.weight.grad = torch.ones_like(layer.weight)
        optimizer.step()
        assert layer.weight.item() == pytest.approx(expected, rel=1e-6)


def test_adamw_follows_the_published_steps(tiny: ModuleType) -> None:
    """Decay on vectors too; what has no gradient stays."""
    published = {name: torch.as_tensor(value) for name, value in arrays("optimizer_steps").items()}
    names = ("matrix", "vector", "nograd")
    module = nn.ParameterDict({name: published[f"{name}0"].clone() for name in names})
    decay = float(published["weight_decay"])
    training = tiny.settings(
        learning_rate=float(published["lr"]),
        weight_decay=decay,
        norm_weight_decay=decay,
        betas=tuple(published["betas"].double().tolist()),
    )
    optimizer = make_optimizer(module, training)
    assert optimizer.defaults["eps"] == pytest.approx(float(published["eps"]))
    for step in range(4):
        for name in ("matrix", "vector"):
            module[name].grad = published[f"grad_{name}"][step]
        optimizer.step()
        for name in names:
            torch.testing.assert_close(module[name].data, published[name][step], rtol=2e-6, atol=2e-6)


def test_rates_scale_from_the_initial_ones(tiny: ModuleType) -> None:
    optimizer = make_optimizer(network(), tiny.settings(learning_rate=0.5, backbone_rate=0.1))
    scale_rates(optimizer, 0.1)
    scale_rates(optimizer, 0.5)
    assert sorted({group["lr"] for group in optimizer.param_groups}) == pytest.approx([0.025, 0.25])
