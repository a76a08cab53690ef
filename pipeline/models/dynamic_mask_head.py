"""CondInst's dynamic mask head (arXiv 2003.05664, section 3.3): one small network per object.

The network is a few 1x1 convolutions whose weights the controller predicts, run on the mask features of
the object's image and on the coordinates relative to the object.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from pipeline.models.layers import aligned_bilinear, grid_points
from pipeline.params import CondInst


def layer_sizes(params: CondInst) -> list[tuple[int, int]]:
    """(inputs, outputs) of each layer of the mask head; the last layer has one output."""
    inputs = params.mask_features + (2 if params.relative_coordinates else 0)
    return list(pairwise([inputs, *[params.mask_head_channels] * (params.mask_head_layers - 1), 1]))


def parameter_count(params: CondInst) -> int:
    """Length of one object's parameter vector: 233 for the published settings."""
    return sum(inputs * outputs + outputs for inputs, outputs in layer_sizes(params))


def dynamic_mask_logits(
    features: Tensor, parameters: Tensor, points: Tensor, scales: Tensor, images: Tensor, params: CondInst
) -> Tensor:
    """Mask logits of N objects: (N, H / mask_out_stride, W / mask_out_stride) float32.

    features: (B, C, h, w) mask features; parameters: (N, P), all weights first, each (outputs, inputs)
    row-major, then all biases; points: (N, 2) image points (x, y) of the locations the objects come from;
    scales: (N,) size of interest of their levels, which divides relative coordinates; images: (N,) int64
    index into the batch.  Always computed in float32; with N = 0 the result is still part of the graph.
    """
    with torch.autocast(features.device.type, enabled=False):
        sizes = layer_sizes(params)
        weights, biases = split_parameters(parameters.float(), sizes)
        stride = mask_stride(params)
        if params.relative_coordinates:
            features, weights[0], biases[0] = _fold_coordinates(
                features.float(), weights[0], biases[0], points, scales, stride
            )
        logits = _run(features.float(), weights, biases, images)
        return aligned_bilinear(logits[:, None], stride // params.mask_out_stride)[:, 0]


def mask_stride(params: CondInst) -> int:
    """Stride of the mask features: the finest pyramid level, or the finest backbone map added to it."""
    return min((*params.mask_branch_skips, params.fpn_strides[0]))


def split_parameters(parameters: Tensor, sizes: list[tuple[int, int]]) -> tuple[list[Tensor], list[Tensor]]:
    """(N, P) vectors -> per layer (N, outputs, inputs) weights and (N, outputs) biases."""
    lengths = [inputs * outputs for inputs, outputs in sizes] + [outputs for _, outputs in sizes]
    parts = torch.split(parameters, lengths, dim=1)
    weights = [
        part.reshape(-1, outputs, inputs) for part, (inputs, outputs) in zip(parts, sizes, strict=False)
    ]
    return weights, list(parts[len(sizes) :])


def _fold_coordinates(
    features: Tensor, weight: Tensor, bias: Tensor, points: Tensor, scales: Tensor, stride: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Turn the per-object inputs (point - pixel) / scale into two features that all objects share.

    With a = weight of a coordinate, a * (point - pixel) / scale = (a * point / scale) + (-a / scale) * pixel:
    the first part joins the bias, the second is a weight of the pixel's own coordinate.  So no (N, C + 2,
    h, w) input is ever stored.  Coordinates count from the middle of the map, which keeps float32 accurate.
    """
    count, _, height, width = features.shape
    pixels = grid_points(height, width, stride, features.device)
    middle = pixels.mean(dim=0)
    plane = (pixels - middle).T.reshape(1, 2, height, width).expand(count, -1, -1, -1)
    slope = weight[:, :, :2] / scales[:, None, None]  # (N, outputs, 2)
    offset = (slope @ (points - middle)[:, :, None]).squeeze(2)
    return (torch.cat((plane, features), dim=1), torch.cat((-slope, weight[:, :, 2:]), dim=2), bias + offset)


def _run(features: Tensor, weights: list[Tensor], biases: list[Tensor], images: Tensor) -> Tensor:
    """The layers as matrix products: (N, h, w) logits in the order of `images`.

    All objects of an image share its features, so their first layers are a single product.  Going image by
    image keeps the hidden maps within a CPU's cache: half the time of all objects at once, and of grouped
    convolutions.
    """
    order = torch.argsort(images, stable=True)
    counts = torch.bincount(images, minlength=len(features)).tolist()
    parts = zip(*(torch.split(part[order], counts) for part in (*weights, *biases)), strict=True)
    logits = [
        _image_logits(feature, part[: len(weights)], part[len(weights) :])
        for feature, part in zip(features.flatten(2), parts, strict=True)
    ]
    return torch.cat(logits)[torch.argsort(order)].view(len(images), *features.shape[2:])


def _image_logits(feature: Tensor, weights: tuple[Tensor, ...], biases: tuple[Tensor, ...]) -> Tensor:
    """feature: (C, h * w) of one image; n objects' parameters per layer.  Returns (n, h * w)."""
    count = len(weights[0])
    hidden = torch.addmm(biases[0].reshape(-1, 1), weights[0].flatten(0, 1), feature)
    for weight, bias in zip(weights[1:], biases[1:], strict=True):
        # In place, and before the view: an in-place change of a view costs a copy in the backward pass.
        hidden = hidden.relu_().view(count, weight.shape[2], feature.shape[1])
        hidden = torch.baddbmm(bias[:, :, None], weight, hidden)
    return hidden.reshape(count, feature.shape[1])
