"""Textures, patchworks and colours of the procedural scenes."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Map = NDArray[np.float32]


def random_color(
    hue: float, rng: Generator, saturation: tuple[float, float], value: tuple[float, float]
) -> Map:
    """RGB in [0, 1], shape (3,), of a hue (any real, wraps at 1) with drawn saturation and value."""
    return np.array(colorsys.hsv_to_rgb(hue % 1, rng.uniform(*saturation), rng.uniform(*value)), np.float32)


def random_texture(kind: int, rng: Generator, side: int, unit: float) -> Map:
    """A pattern of kind 0 .. TEXTURE_KINDS - 1: (side, side) in [-1, 1].

    The period is 5-14 times `unit`, the pixels that one pixel of the 96-pixel scene takes.
    """
    return _TEXTURES[kind](rng, side, float(rng.uniform(5, 14)) * unit)


def random_patchwork(rng: Generator, side: int, patches: int) -> NDArray[np.intp]:
    """(side, side) indices in [0, patches): the cells of a Voronoi diagram with unequal weights."""
    x, y = _grid(side)
    centres, weights = rng.uniform(0, side, (patches, 2)), rng.uniform(0.7, 1.4, patches)
    distances = [
        ((x - cx) ** 2 + (y - cy) ** 2) * np.float32(w)
        for (cx, cy), w in zip(centres.astype(np.float32), weights, strict=True)
    ]
    return np.asarray(np.argmin(np.stack(distances), axis=0))


def ramp(side: int, angle: float) -> Map:
    """Linear ramp of (side, side) along `angle` (radians, 0 = to the right), in pixels, 0 in the middle."""
    x, y = _grid(side)
    middle = (side - 1) / 2
    return (x - np.float32(middle)) * np.float32(np.cos(angle)) + (y - np.float32(middle)) * np.float32(
        np.sin(angle)
    )


def _grid(side: int) -> tuple[Map, Map]:
    """Column and row index, shaped (1, side) and (side, 1) so that they broadcast."""
    steps = np.arange(side, dtype=np.float32)
    return steps[None, :], steps[:, None]


def _wave(side: int, angle: float, period: float, phase: float) -> Map:
    """Square wave along `angle`, its edges about a pixel wide."""
    sine = np.sin(ramp(side, angle) * np.float32(2 * np.pi / period) + np.float32(phase))
    return np.asarray(np.clip(sine * np.float32(period / np.pi), -1, 1))


def _stripes(rng: Generator, side: int, period: float) -> Map:
    return _wave(side, rng.uniform(0, np.pi), period, rng.uniform(0, 2 * np.pi))


def _checks(rng: Generator, side: int, period: float) -> Map:
    angle, phases = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi, 2)
    return _wave(side, angle, period, phases[0]) * _wave(side, angle + np.pi / 2, period, phases[1])


def _dots(rng: Generator, side: int, period: float) -> Map:
    """Bright dots on a square grid."""
    angle, phases = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi, 2)
    turn = np.float32(2 * np.pi / period)
    bumps = np.cos(ramp(side, angle) * turn + np.float32(phases[0])) + np.cos(
        ramp(side, angle + np.pi / 2) * turn + np.float32(phases[1])
    )
    return np.asarray(np.clip((bumps - np.float32(0.4)) * np.float32(period / np.pi), -1, 1))


def _blotches(rng: Generator, side: int, period: float) -> Map:
    """Random cells of half a period, smoothly joined."""
    cells = max(2, round(2 * side / period))
    coarse = rng.uniform(-1.6, 1.6, (cells, cells)).astype(np.float32)
    smooth = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(np.asarray(smooth, np.float32), -1, 1)


_TEXTURES: tuple[Callable[[Generator, int, float], Map], ...] = (_stripes, _checks, _dots, _blotches)
TEXTURE_KINDS = len(_TEXTURES)
