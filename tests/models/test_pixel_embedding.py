from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pipeline.errors import UserError
from pipeline.models.dilated import build_dilated
from pipeline.models.embedding_heads import DeepLabHead, PSPHead, PyramidHead
from pipeline.models.pixel_embedding import (
    ClassifiedEmbedding,
    FrozenEmbedding,
    PixelClassifier,
    build_pixel_embedding,
    padded_size,
)
from tests.semantic_settings import pixel_embedding


def dilated(name="resnet26d", **changes):
    return build_dilated(
        name,
        **{"frozen_stages": 2, "frozen_statistics": False, "batchnorm_momentum": 3e-4, **changes},
    )


def test_strides_and_dilations_are_those_of_the_release():
    """Of each stage the first two blocks: stride and dilation of their 3x3 convolutions."""
    network = dilated().network
    found = [
        [(block.conv2.stride[0], block.conv2.dilation[0]) for block in getattr(network, f"layer{stage}")][:2]
        for stage in (1, 2, 3, 4)
    ]
    assert found == [[(1, 1), (1, 1)], [(2, 1), (1, 1)], [(1, 1), (1, 2)], [(1, 2), (1, 4)]]
    assert {norm.momentum for norm in network.modules() if isinstance(norm, nn.BatchNorm2d)} == {3e-4}


@pytest.mark.slow
def test_the_published_network_has_a_deep_stem_and_2048_channels():
    backbone = dilated("resnet101s")
    stem = [module for module in backbone.network.conv1 if isinstance(module, nn.Conv2d)]
    assert [(conv.kernel_size[0], conv.stride[0], conv.out_channels) for conv in stem] == [
        (3, 2, 64),
        (3, 1, 64),
        (3, 1, 128),
    ]
    assert backbone.channels == {8: 2048}
    blocks = [len(getattr(backbone.network, f"layer{stage}")) for stage in (1, 2, 3, 4)]
    assert blocks == [3, 4, 23, 3]


@pytest.mark.parametrize("fixed", [False, True])
def test_stem_and_first_stage_stay_and_their_statistics_drift(fixed):
    network = dilated(frozen_statistics=fixed).network.train()
    learnt = {name.split(".")[0] for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert learnt == {"layer2", "layer3", "layer4"}
    before = network.layer1[0].bn1.running_mean.clone()
    network(torch.randn(2, 3, 32, 32))
    assert torch.equal(network.layer1[0].bn1.running_mean, before) == fixed


@pytest.mark.parametrize("name", ["convnext_tiny", "resnet5000", "small"])
def test_what_cannot_be_dilated_is_refused(name):
    with pytest.raises(UserError, match="is not a ResNet"):
        dilated(name)


def test_deeplab_head_adds_up_four_dilations():
    head = DeepLabHead(3, 2, 8)
    maps = {8: torch.randn(1, 3, 9, 9)}
    for branch, dilation in zip(head.branches, (6, 12, 18, 24), strict=True):
        assert (branch.dilation, branch.padding) == ((dilation, dilation), (dilation, dilation))
        assert branch.bias is not None
    assert len(head.branches) == 4
    torch.testing.assert_close(head(maps), sum(branch(maps[8]) for branch in head.branches))


def test_psp_head_sees_the_whole_image():
    head = PSPHead(4, 2, 8).eval()
    maps = torch.zeros(1, 4, 12, 12)
    far = maps.clone()
    far[0, :, 11, 11] = 5.0
    assert head({8: maps}).shape == (1, 2, 12, 12)
    assert not torch.equal(head({8: maps})[..., 0, 0], head({8: far})[..., 0, 0])


def test_psp_head_follows_its_description():
    """Of torch's own layers: pooled to 1, 2, 3, 6 cells, 1x1 convolution, norm, ReLU, all beside the map."""
    torch.manual_seed(0)
    head, maps = PSPHead(4, 2, 8), torch.randn(2, 4, 7, 10)
    for module in head.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    head.eval()
    parts = [maps]
    for (conv, norm, relu), cells in zip(head.pools, (1, 2, 3, 6), strict=True):
        assert (conv.out_channels, conv.kernel_size, conv.bias) == (512, (1, 1), None)
        pooled = relu(norm(conv(F.adaptive_avg_pool2d(maps, cells))))
        parts.append(F.interpolate(pooled, (7, 10), mode="bilinear", align_corners=False))
    conv, norm, relu, last = head.last
    assert (conv.out_channels, conv.kernel_size, conv.padding, conv.bias) == (512, (3, 3), (1, 1), None)
    assert (last.kernel_size, last.bias is not None) == ((1, 1), True)
    torch.testing.assert_close(
        head({8: maps}), last(F.relu(norm(conv(torch.cat(parts, 1))))), rtol=1e-4, atol=1e-5
    )


def test_pyramid_head_reads_maps_from_its_finest_stride_on():
    head = PyramidHead({2: 3, 4: 5, 8: 6}, 2, finest=4)
    maps = {2: torch.randn(1, 3, 8, 8), 4: torch.randn(1, 5, 4, 4), 8: torch.randn(1, 6, 2, 2)}
    assert head(maps).shape == (1, 2, 4, 4)
    changed = {**maps, 2: torch.zeros(1, 3, 8, 8)}
    assert torch.equal(head(changed), head(maps))
    assert not torch.equal(head({**maps, 8: torch.zeros(1, 6, 2, 2)}), head(maps))


@pytest.mark.parametrize(
    ("backbone", "head"), [("small", "pyramid"), ("resnet18", "deeplab"), ("resnet18", "pspnet")]
)
def test_embeddings_have_stride_4(backbone, head):
    network = build_pixel_embedding(pixel_embedding(backbone=backbone, head=head)).eval()
    assert network(torch.randn(1, 3, 48, 64)).shape == (1, 8, 12, 16)


def test_classifier_follows_its_description():
    classifier = PixelClassifier(4, 3, 0.65)
    assert classifier.conv.weight.shape == (8, 4, 3, 3)
    assert classifier.conv.bias is None
    assert classifier.last.weight.shape == (3, 8, 1, 1)
    embeddings = torch.randn(1, 4, 5, 5)
    classifier.eval()
    torch.testing.assert_close(classifier(embeddings), classifier(7 * embeddings))
    hidden = F.relu(classifier.norm(classifier.conv(F.normalize(embeddings, dim=1))))
    torch.testing.assert_close(classifier(embeddings), classifier.last(hidden))


def test_classifier_drops_hidden_values_in_training_alone():
    classifier = PixelClassifier(16, 1, 0.65)
    seen = []
    classifier.last.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    embeddings = torch.randn(4, 16, 9, 9)
    for training in (True, False):
        classifier.train(training)(embeddings)
    zeros = [float((hidden == 0).float().mean()) for hidden in seen]
    assert zeros[0] == pytest.approx(1 - 0.35 * (1 - zeros[1]), abs=0.05)
    assert zeros[1] < 0.7


@pytest.mark.parametrize("detached", [True, False])
def test_a_detached_classifier_does_not_move_the_embedding(detached):
    embedding = build_pixel_embedding(pixel_embedding())
    networks = ClassifiedEmbedding(embedding, PixelClassifier(8, 3, 0.0), detached=detached)
    networks(torch.randn(1, 3, 32, 32))[1].sum().backward()
    moved = [parameter.grad is not None for parameter in embedding.parameters()]
    assert not any(moved) if detached else all(moved)


def test_a_frozen_embedding_stays_in_evaluation_mode():
    embedding = build_pixel_embedding(pixel_embedding(backbone="resnet18", head="deeplab"))
    networks = FrozenEmbedding(embedding, PixelClassifier(8, 3, 0.5)).train()
    before = {name: value.clone() for name, value in embedding.state_dict().items()}
    images = torch.randn(1, 3, 32, 32)
    networks(images)[1].sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in embedding.state_dict().items())
    assert all(parameter.grad is not None for parameter in networks.classifier.parameters())
    assert torch.equal(networks(images)[0], networks(images)[0])


def test_padding_holds_image_and_crop():
    assert padded_size(33, 64) == (48, 64)
    assert padded_size(33, 64, (64, 64)) == (64, 64)
