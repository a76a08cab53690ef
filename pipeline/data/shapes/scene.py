"""One procedural scene: objects placed, painted over each other, and the masks of what stays visible."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pipeline.data.shapes.outlines import Points, class_names, coverage, random_outline
from pipeline.data.shapes.textures import (
    TEXTURE_KINDS,
    Map,
    ramp,
    random_color,
    random_patchwork,
    random_texture,
)

REFERENCE_SIDE = 96  # lengths in pixels below are those of a scene of this side, and scale with it
TEXTURE_STRENGTH = 0.40  # span of brightness: 1 - strength / 2 to 1 + strength / 2
NOISE = 0.04  # standard deviation per channel, of 1
LEAST_VISIBLE = 0.25  # share of an object that must stay visible
LEAST_PIXELS = 40  # and its area


@dataclass(frozen=True)
class Scene:
    """image: (H, W, 3) uint8 RGB; masks: (N, H, W) bool, visible pixels, disjoint; labels: (N,) int64."""

    image: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class _Style:
    """side: of the image; unit: pixels per reference pixel; radius: of objects, as share of the side."""

    side: int
    unit: float
    radius: tuple[float, float]
    spread: float  # centres lie within this share of the side
    classes: tuple[str, ...]


@dataclass(frozen=True)
class _Object:
    label: int
    hue: float
    cover: Map  # (H, W) in [0, 1], before occlusion


def generate_scene(seed: tuple[int, ...], size: int, hard: bool) -> Scene:
    """Draw the scene that `seed` stands for: 2-5 objects in `size` x `size` pixels on a cluttered ground."""
    rng = np.random.default_rng(seed)
    style = _Style(size, size / REFERENCE_SIDE, (0.12, 0.27), 0.78, class_names(hard))
    return _draw(rng, style, int(rng.integers(2, 6)))


def generate_single(seed: tuple[int, ...], size: int, hard: bool) -> Scene:
    """Draw one object in the middle of `size` x `size` pixels, two thirds of a scene's side at 64."""
    rng = np.random.default_rng(seed)
    style = _Style(size, size / 64, (0.2, 0.4), 0.4, class_names(hard))
    return _draw(rng, style, 1)


def _draw(rng: Generator, style: _Style, count: int) -> Scene:
    """Objects first, as the background borrows their hues; then paint from back to front."""
    objects, masks = _place(rng, style, count)
    light = rng.uniform(0, 2 * np.pi)
    image = _clutter(rng, style, _background(rng, style, [thing.hue for thing in objects]))
    for thing in objects:
        image = _cast_shadow(rng, style, image, thing, light)
        cover = thing.cover[..., None]
        image = image * (1 - cover) + _surface(rng, style, thing, light) * cover
    image += rng.standard_normal(image.shape, np.float32) * np.float32(NOISE)
    pixels = np.clip(image * 255 + np.float32(0.5), 0, 255).astype(np.uint8)
    return Scene(pixels, masks, np.array([thing.label for thing in objects], np.int64))


def _place(rng: Generator, style: _Style, count: int) -> tuple[list[_Object], NDArray[np.bool_]]:
    """Up to `count` objects, and their visible masks; one that would hide another too much moves on."""
    objects: list[_Object] = []
    masks = np.zeros((0, style.side, style.side), bool)
    least = LEAST_PIXELS * style.unit**2
    full = np.zeros(0)
    for _ in range(8 * count):
        thing = _random_object(rng, style)
        mask = thing.cover >= 0.5
        seen = np.concatenate([masks & ~mask, mask[None]])
        areas, wholes = seen.sum(axis=(1, 2)), np.append(full, mask.sum())
        if (areas >= np.maximum(least, LEAST_VISIBLE * wholes)).all():
            objects, masks, full = [*objects, thing], seen, wholes
        if len(objects) == count:
            break
    return objects, masks


def _random_object(rng: Generator, style: _Style) -> _Object:
    label = int(rng.integers(len(style.classes)))
    hue = label / len(style.classes) + rng.normal(0, 0.03) if rng.random() < 0.97 else rng.random()
    smallest, largest = style.radius
    radius = (smallest + (largest - smallest) * rng.random() ** 1.4) * style.side
    centre = (0.5 + rng.uniform(-0.5, 0.5, 2) * style.spread) * style.side
    outline: Points = [contour * radius + centre for contour in random_outline(style.classes[label], rng)]
    return _Object(label, float(hue), coverage(outline, style.side))


def _background(rng: Generator, style: _Style, hues: list[float]) -> Map:
    """A patchwork (in 90 %) of tones, half textured; in half of the scenes one is of an object's hue."""
    patches = int(rng.integers(3, 7)) if rng.random() < 0.9 else 1
    where = random_patchwork(rng, style.side, patches)
    image = np.empty((style.side, style.side, 3), np.float32)
    borrows = rng.random() < 0.5
    for patch in range(patches):
        hue = rng.choice(hues) if borrows and patch == 0 else rng.random()
        tone = random_color(float(hue), rng, (0.1, 0.7), (0.3, 0.95))
        inside = where == patch
        image[inside] = tone
        if rng.random() < 0.5:
            kind = int(rng.integers(TEXTURE_KINDS))
            image[inside] *= _brightness(kind, rng, style)[inside, None]
    return image


def _brightness(kind: int, rng: Generator, style: _Style) -> Map:
    """Factor by which a texture brightens or darkens each pixel: (H, W), 1 on average."""
    return 1 + np.float32(TEXTURE_STRENGTH / 2) * random_texture(kind, rng, style.side, style.unit)


def _clutter(rng: Generator, style: _Style, image: Map) -> Map:
    """4-11 lines and dots.  OpenCV smooths edges in 8-bit images only, so the ground is rounded here."""
    canvas = np.clip(image * 255, 0, 255).astype(np.uint8)
    for _ in range(int(rng.integers(4, 12))):
        color = tuple(float(c) for c in 255 * random_color(rng.random(), rng, (0.1, 0.9), (0.2, 0.95)))
        start = rng.uniform(0, style.side, 2)
        if rng.random() < 0.5:
            stop = start + rng.uniform(-0.5, 0.5, 2) * style.side
            width = max(1, round(rng.uniform(1, 2.5) * style.unit))
            cv2.line(canvas, _fixed(start), _fixed(stop), color, width, cv2.LINE_AA, 4)
        else:
            radius = int(rng.uniform(1, 3.5) * style.unit * 16)
            cv2.circle(canvas, _fixed(start), radius, color, -1, cv2.LINE_AA, 4)
    return canvas.astype(np.float32) / np.float32(255)


def _fixed(point: NDArray[np.float64]) -> tuple[int, int]:
    """x y in pixels as OpenCV's fixed-point coordinates with 4 bits of fraction."""
    return int(point[0] * 16), int(point[1] * 16)


def _cast_shadow(rng: Generator, style: _Style, image: Map, thing: _Object, light: float) -> Map:
    """Darken what lies beside the object, away from the light."""
    reach = rng.uniform(1.5, 4) * style.unit
    shift = np.array([[1, 0, -reach * np.cos(light)], [0, 1, -reach * np.sin(light)]], np.float32)
    moved = cv2.warpAffine(thing.cover, shift, (style.side, style.side))
    soft = cv2.GaussianBlur(moved, (0, 0), 1.5 * style.unit)
    return image * (1 - np.float32(rng.uniform(0.2, 0.5)) * np.asarray(soft, np.float32)[..., None])


def _surface(rng: Generator, style: _Style, thing: _Object, light: float) -> Map:
    """The object's colour times texture, second tone and shading, over the whole image: (H, W, 3)."""
    color = random_color(thing.hue, rng, (0.45, 0.95), (0.45, 0.95))
    own = rng.random() < 0.7
    kind = thing.label % TEXTURE_KINDS if own else int(rng.integers(TEXTURE_KINDS))
    brightness = _brightness(kind, rng, style)
    weights = thing.cover / thing.cover.sum()
    if rng.random() < 0.6:
        across = ramp(style.side, rng.uniform(0, 2 * np.pi))
        darker = np.float32(rng.uniform(0.5, 0.75))
        brightness = np.where(across > (across * weights).sum(), brightness * darker, brightness)
    along = ramp(style.side, light)
    slope = np.float32(rng.uniform(0.05, 0.2) / (0.2 * style.side))
    shading = 1 + slope * (along - (along * weights).sum())
    return np.asarray(color * (brightness * shading)[..., None], np.float32)
