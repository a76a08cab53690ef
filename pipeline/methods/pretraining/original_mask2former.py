"""Weights that the authors of Mask2Former publish, in the names of our network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pipeline.errors import UserError
from pipeline.methods.pretraining.detectron2_names import backbone_names
from pipeline.models.backbones import Backbone
from pipeline.state_dicts import State, read_state

_HEAD = "sem_seg_head."
_PIXELS, _ENCODER = r"pixel_decoder\.", r"pixel_decoder\.transformer\.encoder\.layers\.(\d+)\."
_LAYER = "query_decoder.decoder.layers."
# Patterns of names after _HEAD, and what they are here; the first that fits counts.
_HEADS: tuple[tuple[str, str], ...] = (
    (rf"{_PIXELS}input_proj\.", "pixel_decoder.input_projections."),
    (rf"{_PIXELS}transformer\.level_embed", "pixel_decoder.level_embed"),
    (rf"{_ENCODER}linear1\.", r"pixel_decoder.encoder.layers.\1.fc1."),
    (rf"{_ENCODER}linear2\.", r"pixel_decoder.encoder.layers.\1.fc2."),
    (rf"{_ENCODER}norm1\.", r"pixel_decoder.encoder.layers.\1.self_attn_layer_norm."),
    (rf"{_ENCODER}norm2\.", r"pixel_decoder.encoder.layers.\1.final_layer_norm."),
    (rf"{_ENCODER}self_attn\.", r"pixel_decoder.encoder.layers.\1.self_attn."),
    (rf"{_PIXELS}(adapter_1|layer_1)\.norm\.", r"pixel_decoder.\1.1."),
    (rf"{_PIXELS}(adapter_1|layer_1)\.weight", r"pixel_decoder.\1.0.weight"),
    (rf"{_PIXELS}mask_features\.", "pixel_decoder.mask_projection."),
    (r"predictor\.query_feat\.", "query_decoder.queries_features."),
    (r"predictor\.query_embed\.", "query_decoder.queries_embedder."),
    (r"predictor\.level_embed\.", "query_decoder.level_embed."),
    (r"predictor\.transformer_self_attention_layers\.(\d+)\.self_attn\.", rf"{_LAYER}\1.self_attn."),
    (r"predictor\.transformer_self_attention_layers\.(\d+)\.norm\.", rf"{_LAYER}\1.self_attn_layer_norm."),
    (r"predictor\.transformer_cross_attention_layers\.(\d+)\.multihead_attn\.", rf"{_LAYER}\1.cross_attn."),
    (r"predictor\.transformer_cross_attention_layers\.(\d+)\.norm\.", rf"{_LAYER}\1.cross_attn_layer_norm."),
    (r"predictor\.transformer_ffn_layers\.(\d+)\.linear1\.", rf"{_LAYER}\1.fc1."),
    (r"predictor\.transformer_ffn_layers\.(\d+)\.linear2\.", rf"{_LAYER}\1.fc2."),
    (r"predictor\.transformer_ffn_layers\.(\d+)\.norm\.", rf"{_LAYER}\1.final_layer_norm."),
    (r"predictor\.decoder_norm\.", "query_decoder.decoder.layernorm."),
    (
        r"predictor\.mask_embed\.layers\.(\d+)\.",
        r"query_decoder.decoder.mask_predictor.mask_embedder.\1.0.",
    ),
    (r"predictor\.class_embed\.", "class_predictor."),
)
_FUSED = re.compile(r"(query_decoder\.decoder\.layers\.\d+\.self_attn)\.in_proj_(weight|bias)")
# Not learnt, but derived: weights of the loss, the index of a Swin's table.
_DERIVED = re.compile(r"criterion\.empty_weight|pixel_mean|pixel_std|backbone\..*\.relative_position_index")


def read_mask2former(path: Path, backbone: Backbone) -> tuple[State, list[str]]:
    """The network in a file of the original's, in our names, and the names of the tensors left out.

    backbone: of the architecture that the file's has, a ResNet or a Swin.  The class head comes with it.

    Raises UserError when the file is missing, holds no state dict, or has a tensor of another network.
    """
    state, ignored = {}, []
    backbones = _backbone_names(backbone)
    for name, tensor in read_state(path).items():
        if _DERIVED.fullmatch(name):
            ignored.append(name)
        else:
            state[_renamed(name, backbones, path)] = tensor
    return _split(state), ignored


def _renamed(name: str, backbones: Mapping[str, str], path: Path) -> str:
    if name in backbones:
        return backbones[name]
    for pattern, ours in _HEADS:
        if match := re.match(re.escape(_HEAD) + pattern, name):
            return match.expand(ours) + name[match.end() :]
    raise UserError(
        path,
        name,
        "is no tensor of a Mask2Former with this backbone",
        "correct the row's architecture, or set its content to backbone",
    )


def _backbone_names(backbone: Backbone) -> dict[str, str]:
    """The original's name -> ours of every tensor of a backbone, a ResNet or a Swin, and its last norms."""
    names = {
        f"backbone.{theirs}": f"backbone.network.{ours}" for theirs, ours in backbone_names(backbone).items()
    }
    for level in range(len(backbone.channels)):
        for part in ("weight", "bias"):
            names[f"backbone.norm{level}.{part}"] = f"pyramid.backbone_norms.{level}.{part}"
    return names


def _split(state: State) -> State:
    """Queries, keys and values are one matrix in the original's self-attention, and three here."""
    result: State = {}
    for name, tensor in state.items():
        if match := _FUSED.fullmatch(name):
            for part, rows in zip("qkv", tensor.chunk(3), strict=True):
                result[f"{match[1]}.{part}_proj.{match[2]}"] = rows
        else:
            result[name] = tensor
    return result
