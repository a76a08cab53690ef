"""Networks of the semantic task start from the weights that they are given."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline import params
from pipeline.errors import UserError
from pipeline.methods.semantic.build import build_networks, build_semantic
from pipeline.models.backbones import build_backbone
from pipeline.weights import save_tensors, save_weights
from tests import semantic_settings
from tests.semantic_settings import CLASSES, pixel_embedding


@pytest.mark.parametrize("settings", [semantic_settings.spml(), semantic_settings.supervised()])
def test_the_backbone_has_the_start_s_weights(
    settings: params.Spml | params.SupervisedSemantic, tmp_path: Path
) -> None:
    torch.manual_seed(7)
    start = build_backbone("small", frozen_stages=0, frozen_batchnorm=False).network.state_dict()
    save_tensors(start, tmp_path / "start.safetensors")
    torch.manual_seed(0)
    method = build_semantic(settings, pixel_embedding(), CLASSES, tmp_path / "start.safetensors")
    torch.manual_seed(0)
    without = build_semantic(settings, pixel_embedding(), CLASSES)
    found, drawn = (one.networks.embedding.backbone.network.state_dict() for one in (method, without))
    assert all(torch.equal(found[name], value) for name, value in start.items())
    assert not all(torch.equal(drawn[name], value) for name, value in start.items())
    heads = [one.networks.embedding.head.state_dict() for one in (method, without)]
    assert all(torch.equal(heads[0][name], value) for name, value in heads[1].items())


def test_a_start_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    save_tensors({"other.weight": torch.zeros(2)}, tmp_path / "start.safetensors")
    with pytest.raises(UserError, match=r"start\.safetensors"):
        build_semantic(semantic_settings.spml(), pixel_embedding(), CLASSES, tmp_path / "start.safetensors")


def test_a_classifier_has_the_embedding_and_a_head_of_its_own(tmp_path: Path) -> None:
    torch.manual_seed(7)
    trained = build_networks(semantic_settings.spml(), pixel_embedding(), CLASSES)
    save_weights(trained, tmp_path / "model.safetensors")
    torch.manual_seed(0)
    made = build_semantic(
        semantic_settings.classifier(), pixel_embedding(), CLASSES, embedding=tmp_path / "model.safetensors"
    ).networks
    for name, value in made.embedding.state_dict().items():
        assert torch.equal(value, trained.embedding.state_dict()[name]), name
    assert not torch.equal(made.classifier.conv.weight, trained.classifier.conv.weight)
