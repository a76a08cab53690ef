"""The four decoders: shapes, training, resolution by size, and what each one looks at."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.models.autolabeler.heads import PixelHead
from pipeline.models.autolabeler.network import DECODERS
from pipeline.models.autolabeler.query_decoder import QueryDecoder
from tests.autolabeler_settings import small_autolabeler

ALL = sorted(DECODERS)
AREAS = torch.tensor([400.0, 3000.0, 30000.0, 9216.0])


def build(name: str, **changes: Any) -> nn.Module:
    torch.manual_seed(0)
    return DECODERS[name](small_autolabeler(decoder=name, **changes), channels=12)


def tokens(batch: int = 4, side: int = 4) -> Tensor:
    return torch.randn(batch, 12, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("scale_by_size", [True, False])
@pytest.mark.parametrize("name", ALL)
def test_logits_have_the_asked_side(name: str, scale_by_size: bool) -> None:
    for output_scale in (2, 4, 8):
        decoder = build(name, scale_by_size=scale_by_size, output_scale=output_scale)
        assert decoder(tokens(), AREAS).shape == (4, 4 * output_scale, 4 * output_scale)


@pytest.mark.parametrize("size_ranges", ["half_open", "open"])
@pytest.mark.parametrize("name", ALL)
def test_one_step_trains_every_parameter(name: str, size_ranges: str) -> None:
    decoder = build(name, size_ranges=size_ranges)
    optimizer = torch.optim.SGD(decoder.parameters(), lr=1e-3)
    loss = decoder(tokens(), AREAS).square().mean()
    loss.backward()
    for key, parameter in decoder.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        # A lone query's attention to itself has one key, so where it looks is no question.
        if not key.endswith(("own.in_proj_weight", "own.in_proj_bias")):
            assert parameter.grad.any(), key
    optimizer.step()
    assert decoder(tokens(), AREAS).square().mean() < loss


def test_a_batch_without_any_size_still_has_gradients() -> None:
    """As released, its logits are 0; several processes need a gradient of every parameter all the same."""
    decoder = build("attention", size_ranges="open")
    logits = decoder(tokens(2), torch.tensor([1024.0, 9216.0]))
    logits.sum().backward()
    assert not logits.any()
    assert all(not parameter.grad.any() for parameter in decoder.parameters())


@pytest.mark.parametrize("name", ALL)
def test_a_batch_is_its_crops_one_by_one(name: str) -> None:
    decoder = build(name)
    together = decoder(tokens(), AREAS)
    for index in range(4):
        alone = decoder(tokens()[index : index + 1], AREAS[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("area", "inner"), [(400.0, 4), (1024.0, 8), (3000.0, 8), (9216.0, 16), (30000.0, 16)]
)
@pytest.mark.parametrize("name", ["attention", "fully_convolutional", "query"])
def test_the_pixel_head_works_at_the_resolution_of_the_size(name: str, area: float, inner: int) -> None:
    decoder = build(name)
    sides: list[int] = []
    decoder.pixel_head.register_forward_hook(lambda _, inputs, output: sides.append(inputs[0].shape[-1]))
    decoder(tokens(1, side=8), torch.tensor([area]))
    assert sides == [inner]


@pytest.mark.parametrize(("convs", "sides"), [(2, [8]), (3, [4, 8]), (4, [4, 4, 8])])
def test_the_last_convolution_works_on_twice_the_resolution(convs: int, sides: list[int]) -> None:
    head = PixelHead(12, 6, 5, convs)
    seen: list[int] = []
    for conv in head.convs[1:]:
        conv.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0].shape[-1]))
    output = head(tokens())
    assert output.shape == (4, 5, 8, 8)
    assert (output >= 0).all()
    assert seen == sides


def test_the_pixel_head_starts_as_specified() -> None:
    """Kaiming normal, fan-out: variance 2 / (9 * outputs)."""
    torch.manual_seed(0)
    head = PixelHead(64, 48, 32, 4)
    for conv in head.convs:
        assert not conv.bias.any()
        assert conv.weight.std().item() == pytest.approx((2 / (9 * conv.out_channels)) ** 0.5, rel=0.05)


def test_a_query_looks_inside_its_own_mask_alone() -> None:
    decoder = build("query")
    assert isinstance(decoder, QueryDecoder)
    query, pixels = torch.randn(3, 1, 256), torch.randn(3, 8, 8, 8).abs()
    hidden = decoder._hidden(query, pixels, 4)
    assert hidden.shape == (3, 16)
    assert not hidden.all(dim=1).any(), "an empty mask hides nothing"
    layer = decoder.layers[0]
    cells = torch.randn(3, 16, 256)
    hidden = torch.zeros(3, 16, dtype=torch.bool)
    hidden[:, 5] = True
    elsewhere = cells.clone()
    elsewhere[:, 5] = 7
    torch.testing.assert_close(layer(query, cells, hidden), layer(query, elsewhere, hidden))
