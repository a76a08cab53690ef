"""The classifier of tags and what its maps say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.errors import UserError
from pipeline.models.classifier import build_classifier
from pipeline.weights import save_tensors
from tests.methods.cam.tag_labels import classifier_settings


def test_logits_are_the_means_of_what_the_maps_cut_off() -> None:
    torch.manual_seed(0)
    classifier, images = build_classifier(classifier_settings(), 3).eval(), 255 * torch.rand(2, 3, 24, 36)
    settings = classifier_settings()
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (settings.pixel_mean, settings.pixel_std))
    with torch.no_grad():
        logits, maps = classifier(images), classifier.class_maps(images)
        raw = classifier.classes(classifier.backbone.maps((images - mean) / std)[-1])
    assert (logits.shape, maps.shape) == ((2, 3), (2, 3, 6, 9))
    torch.testing.assert_close(logits, raw.mean(dim=(2, 3)))
    torch.testing.assert_close(maps, raw.clamp(min=0))
    assert classifier.classes.bias is None


def test_images_need_not_be_multiples_of_the_stride() -> None:
    classifier = build_classifier(classifier_settings(map_stride=16, output_stride=16), 2)
    assert classifier.class_maps(torch.zeros(1, 3, 33, 50)).shape == (1, 2, 3, 4)


def test_it_starts_from_weights_of_all_stages(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = build_classifier(classifier_settings(map_stride=16, output_stride=16), 2)
    save_tensors(whole.backbone.network.state_dict(), tmp_path / "backbone.safetensors")
    torch.manual_seed(1)
    started = build_classifier(classifier_settings(map_stride=8), 2, tmp_path / "backbone.safetensors")
    for name, tensor in started.backbone.network.state_dict().items():
        assert torch.equal(tensor, whole.backbone.network.state_dict()[name])
    assert sorted(started.backbone.channels) == [2, 4, 8]
    assert started.class_maps(torch.zeros(1, 3, 32, 32)).shape == (1, 2, 8, 8)


def test_irn_trains_the_last_two_stages_of_a_resnet_at_stride_16() -> None:
    """Stem and first two stages frozen, batch norms fixed, stride 1 in the last stage."""
    settings = classifier_settings(
        backbone="resnet10t", frozen_stages=3, frozen_batchnorm=True, map_stride=32, output_stride=16
    )
    classifier = build_classifier(settings, 20)
    parameters = classifier.backbone.network.named_parameters()
    assert {name.split(".")[0] for name, value in parameters if value.requires_grad} == {"layer3", "layer4"}
    assert classifier.class_maps(torch.zeros(1, 3, 64, 64)).shape == (1, 20, 4, 4)


def test_a_map_that_is_not_there_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"has no map of stride 32: its maps have the strides \[2, 4, 8, 16\]"
    ):
        build_classifier(classifier_settings(map_stride=32), 2)
