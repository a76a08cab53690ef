"""A picture of class activation maps: images, where their classes were seen, and the labels made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from pipeline.data.label_codes import BACKGROUND, UNLABELLED
from pipeline.report.figures import png, settings, shorten
from pipeline.report.palette import RUNS

BACKGROUND_GREY, UNLABELLED_GREY = 0.16, 0.72  # brightness in the column of labels
_TITLES = ("image", "class activation maps", "partial labels")


@dataclass(frozen=True)
class CamScene:
    """One row of the picture.

    image: (H, W, 3) uint8 RGB; tags: n class indices; maps: (n, H, W) in [0, 1]; labels: (H, W) uint8 with
    the codes of label_codes.py.
    """

    file_name: str
    image: NDArray[np.uint8]
    tags: tuple[int, ...]
    maps: NDArray[np.floating]
    labels: NDArray[np.uint8]


def cam_preview(scenes: Sequence[CamScene], classes: Sequence[str]) -> bytes:
    """PNG bytes: a row for each scene, with its image, the maps over the grey image, and the labels.

    In a row each class of the image has a colour of its own, as the legend below it says.
    """
    with settings():
        figure = Figure(figsize=(7.2, 2.6 * max(len(scenes), 1)), layout="constrained")
        grid = figure.subplots(max(len(scenes), 1), 3, squeeze=False)
        for row, scene in zip(grid, scenes, strict=False):
            colors = {tag: RUNS[place % len(RUNS)] for place, tag in enumerate(scene.tags)}
            pictures = (scene.image, overlay(scene, colors), painted(scene.labels, colors))
            titles = (shorten(scene.file_name, 28), *_TITLES[1:])
            for axes, picture, title in zip(row, pictures, titles, strict=True):
                axes.imshow(picture, interpolation="nearest")
                axes.set_title(title)
            names = [Patch(color=color, label=shorten(classes[tag], 18)) for tag, color in colors.items()]
            if names:
                row[1].legend(
                    handles=names, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=3, frameon=False
                )
        for axes in grid.flat:
            axes.set_axis_off()
        return png(figure)


def overlay(scene: CamScene, colors: dict[int, str]) -> NDArray[np.float64]:
    """(H, W, 3) in [0, 1]: the grey image, with each class's colour as far as its map is strong.

    Where several are, the strongest one's colour is shown.
    """
    grey = np.repeat(scene.image.mean(axis=2, keepdims=True) / 255, 3, axis=2)
    if not scene.tags:
        return np.asarray(grey)
    palette = np.array([to_rgb(colors[tag]) for tag in scene.tags])
    strength = scene.maps.max(axis=0).astype(np.float64)[:, :, None]
    return np.asarray((1 - strength) * grey + strength * palette[scene.maps.argmax(axis=0)])


def painted(labels: NDArray[np.uint8], colors: dict[int, str]) -> NDArray[np.float64]:
    """(H, W, 3) in [0, 1]: classes in their colours, background dark, unlabelled pixels light, void white."""
    table = np.ones((256, 3))
    table[BACKGROUND], table[UNLABELLED] = BACKGROUND_GREY, UNLABELLED_GREY
    for tag, color in colors.items():
        table[tag] = to_rgb(color)
    return np.asarray(table[labels])
