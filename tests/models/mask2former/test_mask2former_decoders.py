"""The decoders compute what transformers' own do, and start as the original does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoder,
    Mask2FormerSinePositionEmbedding,
    Mask2FormerTransformerModule,
)

from pipeline.models.mask2former.attention import DeformableAttention, sample_levels
from pipeline.models.mask2former.decoders import PixelDecoder, Positions, QueryDecoder
from tests.mask2former_settings import small_mask2former

MODEL = small_mask2former(hidden_channels=64, encoder_layers=2, decoder_layers=4)
CHANNELS = (16, 24, 32, 40)


def decoders() -> tuple[PixelDecoder, QueryDecoder]:
    """Ours, in a state where all of their tensors matter."""
    torch.manual_seed(0)
    pixels, queries = PixelDecoder(MODEL, CHANNELS), QueryDecoder(MODEL)
    for layer in pixels.encoder.layers:
        nn.init.normal_(layer.self_attn.sampling_offsets.weight, std=0.1)
        nn.init.normal_(layer.self_attn.attention_weights.weight, std=0.1)
    return pixels, queries


def library_of(pixels: PixelDecoder, queries: QueryDecoder) -> tuple[nn.Module, nn.Module]:
    """transformers' own modules with the same weights."""
    theirs = (
        Mask2FormerPixelDecoder(pixels.config, CHANNELS),
        Mask2FormerTransformerModule(64, queries.decoder.config),
    )
    for their, our in zip(theirs, (pixels, queries), strict=True):
        their.load_state_dict(our.state_dict())
    return theirs


def maps() -> list[Tensor]:
    """Of an image of 64 x 96 pixels, and of nothing that 32 divides."""
    draw = torch.Generator().manual_seed(1)
    sizes = ((16, 24), (8, 12), (4, 6), (2, 3))
    return [torch.randn(2, c, *s, generator=draw) for c, s in zip(CHANNELS, sizes, strict=True)]


def run(pixels: nn.Module, queries: nn.Module) -> dict[str, Tensor]:
    """Everything that comes out, and the gradient of every weight."""
    inputs = [level.requires_grad_() for level in maps()]
    features: Any = pixels(inputs)
    decoded: Any = queries(features.multi_scale_features, features.mask_features)
    results = {f"states {i}": value for i, value in enumerate(decoded.intermediate_hidden_states)}
    results |= {f"masks {i}": value for i, value in enumerate(decoded.masks_queries_logits)}
    torch.stack([value.square().mean() for value in results.values()]).sum().backward()
    for module in (pixels, queries):
        results |= {name: value.grad for name, value in module.named_parameters() if value.grad is not None}
    return results | {f"map {i}": level.grad for i, level in enumerate(inputs)}


def test_results_and_gradients_are_the_librarys() -> None:
    ours = decoders()
    theirs = run(*library_of(*ours))
    found = run(*ours)
    assert found.keys() == theirs.keys()
    assert len(found) > 100
    for name, value in found.items():
        torch.testing.assert_close(
            value, theirs[name], rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_deformable_attention_is_the_originals(vectors: Path) -> None:
    with np.load(vectors / "mask2former" / "ms_deform_attn.npz", allow_pickle=False) as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
    shapes = [tuple(shape) for shape in arrays["spatial_shapes"].tolist()]
    locations = arrays["sampling_locations"]  # (N, Lq, heads, levels, points, 2)
    grids = [2 * locations[:, :, :, level].transpose(1, 2) - 1 for level in range(len(shapes))]
    found = sample_levels(arrays["value"], grids, arrays["attention_weights"], shapes)
    torch.testing.assert_close(found, arrays["output"], rtol=0, atol=1e-5)


def test_gradients_of_deformable_attention_are_finite_differences() -> None:
    draw = torch.Generator().manual_seed(2)

    def values(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=draw, dtype=torch.float64).requires_grad_()

    shapes = [(2, 3), (3, 2)]
    grids = [values(1, 2, 3, 2, 2), values(1, 2, 3, 2, 2)]
    assert torch.autograd.gradcheck(
        lambda table, weights, *grids: sample_levels(table, grids, weights, shapes),
        (values(1, 12, 2, 3), values(1, 3, 2, 2, 2), *grids),
    )


def test_deformable_attention_starts_with_a_direction_per_head() -> None:
    attention = DeformableAttention(32, 4)
    offsets = attention.sampling_offsets(torch.rand(1, 32)).view(4, 3, 4, 2)
    directions = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    for level in range(3):
        for point in range(4):
            torch.testing.assert_close(offsets[:, level, point], directions * (point + 1), atol=1e-6, rtol=0)
    assert not attention.attention_weights(torch.rand(1, 32)).any()


def bound(weight: Tensor) -> float:
    """The largest weight as a share of what the uniform distribution of Glorot and Bengio has."""
    fan_out, fan_in = weight.shape[0], weight[0].numel()
    return float(weight.detach().abs().max()) / (6 / (fan_in + fan_out)) ** 0.5


def test_weights_start_as_in_the_original() -> None:
    """The library draws most from a normal distribution of deviation 0.02."""
    pixels, queries = decoders()
    encoder, layer = pixels.encoder.layers[0], queries.decoder.layers[0]
    glorot = [
        encoder.fc1,
        encoder.fc2,
        layer.fc1,
        layer.fc2,
        layer.self_attn.out_proj,
        layer.cross_attn.out_proj,
        *(projection[0] for projection in pixels.input_projections),
    ]
    for linear in glorot:
        assert 0.97 < bound(linear.weight) <= 1
    attention = layer.self_attn
    fused = torch.cat([part.weight for part in (attention.q_proj, attention.k_proj, attention.v_proj)])
    assert 0.97 < bound(fused) <= 1
    assert 0.97 < bound(layer.cross_attn.in_proj_weight) <= 1
    for convolution in (pixels.adapter_1[0], pixels.layer_1[0], pixels.mask_projection):
        # Kaiming's with a = 1 is Glorot's with the fan-in alone
        assert (
            0.97
            < float(convolution.weight.detach().abs().max()) / (3 / convolution.weight[0].numel()) ** 0.5
            <= 1
        )
    for embedding in (queries.queries_features.weight, queries.queries_embedder.weight, pixels.level_embed):
        assert 0.8 < float(embedding.detach().std()) < 1.2
    for bias in (attention.q_proj.bias, attention.out_proj.bias, layer.cross_attn.in_proj_bias):
        assert not bias.any()
    assert layer.fc1.bias.any()


def test_positions_are_the_librarys_and_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    whole = Mask2FormerSinePositionEmbedding.forward

    def counted(*arguments: object) -> Tensor:
        made.append(arguments)
        return whole(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Mask2FormerSinePositionEmbedding, "forward", counted)
    ours, device = Positions(12), torch.device("cpu")
    library = Mask2FormerSinePositionEmbedding(6, normalize=True)
    for height in (5, 7, 9):
        for batch in (2, 3):
            shape = torch.Size((batch, 12, height, 4))
            expected = whole(library, shape, device, torch.float32)
            assert torch.equal(ours(shape, device, torch.float32), expected)
    assert len(made) == 3


def test_equal_seeds_give_equal_weights() -> None:
    """All are drawn: the library leaves some as they lie in memory."""
    first, second = decoders(), decoders()
    for one, other in zip(first, second, strict=True):
        for name, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name
            assert torch.isfinite(value).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 5)])
def test_maps_of_any_size_are_decoded(size: tuple[int, int]) -> None:
    pixels, queries = decoders()
    height, width = size
    levels = [torch.rand(1, c, height * s, width * s) for c, s in zip(CHANNELS, (8, 4, 2, 1), strict=True)]
    features = pixels(levels)
    decoded = queries(features.multi_scale_features, features.mask_features)
    assert decoded.masks_queries_logits[-1].shape == (1, 6, 8 * height, 8 * width)
    assert torch.isfinite(decoded.masks_queries_logits[-1]).all()
