"""Small pieces that the networks share: enlargement, grids, convolution blocks, initialisation."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

Norm = Literal["batchnorm", "groupnorm"]


def aligned_bilinear(maps: Tensor, factor: int) -> Tensor:
    """Enlarge (N, C, h, w) maps to (N, C, factor * h, factor * w), bilinearly.

    Output index i of an axis reads its n input cells at (i - factor // 2) / factor, clamped to [0, n - 1].
    Unlike the usual alignments, this puts an input cell of a stride-s map exactly on the image point
    that the cell stands for (`grid_points`), so that enlarged maps agree with those of a finer stride.
    CondInst (arXiv 2003.05664), mask branch and mask head.
    """
    if factor == 1:
        return maps
    # As products with two small matrices: exact, a third of the time of torch's interpolation for small
    # maps, and with a gradient that is the same on every run on a GPU too.
    rows = _interpolation(maps.shape[2], factor, maps)
    columns = _interpolation(maps.shape[3], factor, maps)
    return rows @ maps @ columns.T


def _interpolation(cells: int, factor: int, like: Tensor) -> Tensor:
    """(factor * cells, cells) matrix that enlarges one axis, of the dtype and device of `like`."""
    return _weights((torch.arange(factor * cells, device=like.device) - factor // 2) / factor, cells, like)


def _weights(reading: Tensor, cells: int, like: Tensor) -> Tensor:
    """(n, cells) shares of each cell in n linear readings at fractional indices, clamped to the axis."""
    distance = reading.clamp(0, cells - 1)[:, None] - torch.arange(cells, device=like.device)
    return (1 - distance.abs()).clamp(min=0).to(like.dtype)


def resize_bilinear(maps: Tensor, height: int, width: int) -> Tensor:
    """Resize (N, C, h, w) maps to (N, C, height, width), bilinearly, without antialiasing.

    The usual alignment, of cells as squares (torch's `align_corners=False`); in the dtype of `maps`.
    """
    if maps.shape[-2:] == (height, width):
        return maps
    rows, columns = _square_cells(maps.shape[2], height, maps), _square_cells(maps.shape[3], width, maps)
    with torch.autocast(maps.device.type, enabled=False):  # products for the reasons above
        return rows @ maps @ columns.T


def cell_means(maps: Tensor, rows: int, columns: int) -> Tensor:
    """(N, C, rows, columns) means of (N, C, h, w) maps over that many parts of each axis.

    The parts are torch's of adaptive average pooling: part i of n has the cells from floor(i h / n) to before
    ceil((i + 1) h / n), so that parts may share a cell.
    """
    top, left = _parts(maps.shape[2], rows, maps), _parts(maps.shape[3], columns, maps)
    with torch.autocast(maps.device.type, enabled=False):  # products for the reasons above
        return top @ maps @ left.T


def _parts(cells: int, parts: int, like: Tensor) -> Tensor:
    """(parts, cells) shares of each cell in the mean of each part, of the dtype and device of `like`."""
    part = torch.arange(parts, device=like.device)[:, None]
    cell = torch.arange(cells, device=like.device)
    inside = (cell >= part * cells // parts) & (cell * parts < (part + 1) * cells)
    exact = inside.to(torch.promote_types(like.dtype, torch.float32))
    return (exact / exact.sum(dim=1, keepdim=True)).to(like.dtype)


def _square_cells(cells: int, size: int, like: Tensor) -> Tensor:
    """(size, cells) matrix that resizes one axis, of the dtype and device of `like`."""
    exact = torch.promote_types(like.dtype, torch.float32)
    reading = (torch.arange(size, dtype=exact, device=like.device) + 0.5) * (cells / size) - 0.5
    return _weights(reading, cells, like)


def grid_points(height: int, width: int, stride: int, device: torch.device | None = None) -> Tensor:
    """Image points (x, y) of a feature map's cells: (height * width, 2) float32, row by row.

    Cell (row, column) of stride s stands for (column * s + s // 2, row * s + s // 2).
    """
    rows = torch.arange(height, device=device, dtype=torch.float32) * stride + stride // 2
    columns = torch.arange(width, device=device, dtype=torch.float32) * stride + stride // 2
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack((x, y), dim=-1).reshape(-1, 2)


def conv_norm_relu(inputs: int, outputs: int, kernel: int, norm: Norm) -> nn.Sequential:
    """Same-size convolution without bias, norm, ReLU; Kaiming-uniform start with a = 1."""
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    nn.init.kaiming_uniform_(conv.weight, a=1)
    # Eight groups at most: with the 32 groups of the detection head, few channels would leave each
    # group a single one, and the mask features would lose their mean.
    layer = nn.BatchNorm2d(outputs) if norm == "batchnorm" else nn.GroupNorm(math.gcd(8, outputs), outputs)
    return nn.Sequential(conv, layer, nn.ReLU(inplace=True))
