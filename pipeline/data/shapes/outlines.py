"""Outlines of the procedural objects: random polygons in the unit circle, and their anti-aliased coverage."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Contour = NDArray[np.float64]  # (K, 2), x y
Points = list[Contour]  # several contours are filled by the even-odd rule

SUPERSAMPLING = 4  # sub-pixels per pixel side from which coverage is averaged
_SHIFT = 4  # OpenCV's fixed-point bits: vertices are exact to 1/16 of a sub-pixel


def class_names(hard: bool) -> tuple[str, ...]:
    """Names of the classes, in the order of their labels 0, 1, ...

    `hard` adds two classes with a hollow: a filled disc has the same projections as they have, so
    losses on projections cannot tell the two apart.
    """
    easy = ("ellipse", "polygon", "star", "L")
    return (*easy, "ring", "crescent") if hard else easy


def random_outline(name: str, rng: Generator) -> Points:
    """Draw an outline of the class `name`: contours within the unit circle, turned by a random angle."""
    contours = _OUTLINES[name](rng)
    angle = rng.uniform(0, 2 * np.pi)
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, sine], [-sine, cosine]])
    return [contour @ turn for contour in contours]


def coverage(contours: Points, side: int) -> NDArray[np.float32]:
    """Share of each pixel that the contours (in pixels) cover: (side, side) in [0, 1]."""
    canvas = np.zeros((side * SUPERSAMPLING, side * SUPERSAMPLING), np.uint8)
    scale = SUPERSAMPLING << _SHIFT
    half = 1 << (_SHIFT - 1)  # OpenCV puts integer coordinates on pixel centres, we on pixel corners
    vertices = [np.round(contour * scale).astype(np.int32) - half for contour in contours]
    cv2.fillPoly(canvas, vertices, 255, shift=_SHIFT)
    small = cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / np.float32(255)


def _arc(start: float, stop: float, count: int) -> Contour:
    angles = np.linspace(start, stop, count)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _ellipse(rng: Generator) -> Points:
    return [_arc(0, 2 * np.pi, 65)[:-1] * (1, rng.uniform(0.45, 0.9))]


def _polygon(rng: Generator) -> Points:
    """Three to six corners at uneven angles and radii."""
    corners = int(rng.integers(3, 7))
    steps = rng.uniform(0.65, 1.35, corners)
    angles = np.cumsum(steps / steps.sum()) * 2 * np.pi
    radii = rng.uniform(0.75, 1, corners)
    return [np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)]


def _star(rng: Generator) -> Points:
    """Four to seven spikes."""
    spikes = int(rng.integers(4, 8))
    radii = np.tile([1.0, rng.uniform(0.35, 0.55)], spikes)
    return [_arc(0, 2 * np.pi, 2 * spikes + 1)[:-1] * radii[:, None]]


def _l_shape(rng: Generator) -> Points:
    """Two bars that meet in a right angle; the corners of their bounding box lie on the unit circle."""
    angle = rng.uniform(0.22, 0.28) * np.pi
    width, height = np.cos(angle), np.sin(angle)
    foot, stem = rng.uniform(0.55, 0.85, 2)  # bar thickness, as share of the half side
    corners = [
        (-width, -height),
        (width, -height),
        (width, foot * height - height),
        (stem * width - width, foot * height - height),
        (stem * width - width, height),
        (-width, height),
    ]
    return [np.array(corners)]


def _ring(rng: Generator) -> Points:
    squash = (1, rng.uniform(0.7, 1))
    circle = _arc(0, 2 * np.pi, 65)[:-1]
    return [circle * squash, circle * squash * rng.uniform(0.5, 0.68)]


def _crescent(rng: Generator) -> Points:
    """The unit disc less a disc through the tips at +-`tip`, whose bulge is `depth` of the chord."""
    tip = rng.uniform(0.15, 0.35) * np.pi
    outer = _arc(tip, 2 * np.pi - tip, 48)
    depth = rng.uniform(0.45, 0.7) * (1 + np.cos(tip))  # how far the bite reaches in from the tips
    inner = _arc(0.5 * np.pi, 1.5 * np.pi, 32) * (depth, np.sin(tip)) + (np.cos(tip), 0)
    return [np.concatenate([outer, inner[::-1]])]


_OUTLINES: dict[str, Callable[[Generator], Points]] = {
    "ellipse": _ellipse,
    "polygon": _polygon,
    "star": _star,
    "L": _l_shape,
    "ring": _ring,
    "crescent": _crescent,
}
