"""Mask2Former as the methods see it: shapes, order, precision, and what the library does not spoil."""

from __future__ import annotations

import copy

import torch

from pipeline.models.mask2former.network import Mask2Former, build_mask2former
from tests.mask2former_settings import small_mask2former

CLASSES = 3
SIZES = [(96, 64), (80, 50)]


def build(**changes: object) -> Mask2Former:
    torch.manual_seed(0)
    return build_mask2former(small_mask2former(**changes), CLASSES)


def images() -> torch.Tensor:
    return torch.rand(2, 3, 96, 64, generator=torch.Generator().manual_seed(1)) * 255


def test_predictions_of_queries_and_layers_at_the_finest_stride() -> None:
    for strides, shape in ((4, 8, 16, 32), (24, 16)), ((2, 4, 8, 16), (48, 32)):
        predictions = build(feature_strides=strides, decoder_layers=3)(images(), SIZES)
        assert len(predictions) == 4
        for classes, masks in predictions:
            assert classes.shape == (2, 6, CLASSES + 1)
            assert masks.shape == (2, 6, *shape)


def test_a_copy_predicts_the_same() -> None:
    network = build().eval()
    with torch.no_grad():
        torch.testing.assert_close(copy.deepcopy(network)(images(), SIZES), network(images(), SIZES))


def test_every_parameter_learns() -> None:
    network = build()
    sum(part.sum() for prediction in network(images(), SIZES) for part in prediction).backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_predictions_are_float32_in_half_precision_too() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predictions = build()(images(), SIZES)
    assert {part.dtype for prediction in predictions for part in prediction} == {torch.float32}
