"""A picture of class activation maps: images, where their classes were seen, and the labels made of it."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image

from pipeline.data.label_codes import BACKGROUND, UNLABELLED, VOID
from pipeline.report.figures import png, settings, shorten
from pipeline.report.indexed_png import indexed_png
from pipeline.report.palette import GRID
from pipeline.report.semantic_palette import class_shades

# Brightness in the column of labels.
CODES = {BACKGROUND: ("background", 0.16), UNLABELLED: ("unlabelled", 0.72), VOID: ("void", 1.0)}
DPI = 132
SIDE, BETWEEN = 1.94, 0.09  # inches: width of a panel, and of the gap to the next one
TALLEST = 1.4  # height of a panel over its width
TITLE, LINE, APART = 0.24, 0.18, 0.1  # inches: of a title, of a line of a legend, below a row
IN_LINE = 4  # names in a line of a legend
WIDTH = 3 * SIDE + 2 * BETWEEN
PANEL = round(SIDE * DPI)  # pixels: what is larger is reduced in any case
_TITLES = ("class activation maps", "partial labels")


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

    @property
    def height(self) -> float:
        """Inches of the panels."""
        rows, columns = self.image.shape[:2]
        return float(SIDE * min(rows / columns, TALLEST))

    @property
    def lines(self) -> int:
        """Lines of the legend."""
        return math.ceil(len(self.tags) / IN_LINE)


def cam_preview(scenes: Sequence[CamScene], classes: Sequence[str]) -> bytes:
    """PNG bytes: a row for each scene, with its image, the maps over the grey image, and the labels.

    classes: names by index, the background first.  A class has the colour that it has in the gallery of label
    maps; those of an image are named below it.  Raises ValueError without a scene.
    """
    if not scenes:
        raise ValueError("no scenes to draw")
    shades = class_shades(classes, background=True) / 255
    total = sum(TITLE + scene.height + scene.lines * LINE + APART for scene in scenes) + LINE
    with settings():
        # Margins by hand: an automatic layout makes room for wide legends by shrinking the pictures.
        figure = Figure(figsize=(WIDTH, total), dpi=DPI)
        top = total
        for place, scene in enumerate(scenes):
            top -= TITLE + scene.height
            _panels(figure, top / total, scene, shades, titled=place == 0)
            _legend(figure, top / total, [(classes[tag], to_hex(shades[tag])) for tag in scene.tags])
            top -= scene.lines * LINE + APART
        codes = np.unique(np.concatenate([np.unique(scene.labels) for scene in scenes]))
        names = [(name, str(grey)) for code, (name, grey) in CODES.items() if code in codes]
        _legend(figure, top / total, names)
        with Image.open(io.BytesIO(png(figure))) as drawn:
            return indexed_png(np.asarray(drawn.convert("RGB")))


def _panels(
    figure: Figure, bottom: float, scene: CamScene, shades: NDArray[np.floating], *, titled: bool
) -> None:
    """The three pictures of a row, above `bottom` (a share of the figure's height)."""
    pictures: tuple[NDArray[Any], ...] = (
        scene.image,
        overlay(scene, shades),
        painted(scene.labels, shades),
    )
    names = (shorten(scene.file_name, 24), *(_TITLES if titled else ("", "")))
    width, height = SIDE / WIDTH, scene.height / figure.get_figheight()
    for column, (name, picture) in enumerate(zip(names, pictures, strict=True)):
        left = column * (SIDE + BETWEEN) / WIDTH
        axes = figure.add_axes((left, bottom, width, height), anchor="SW")
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(name, fontsize=8.5, pad=3)
        axes.set_axis_off()


def _legend(figure: Figure, top: float, names: Sequence[tuple[str, str]]) -> None:
    """Names and their colours, from the left, below `top` (a share of the figure's height)."""
    if names:
        figure.legend(
            handles=[
                Patch(facecolor=color, edgecolor=GRID, linewidth=0.5, label=shorten(name, 16))
                for name, color in names
            ],
            loc="upper left",
            bbox_to_anchor=(0, top),
            ncols=IN_LINE,
            fontsize=8,
            frameon=False,
            handlelength=1.2,
            columnspacing=1.2,
            borderaxespad=0.2,
            borderpad=0.1,
        )


def overlay(scene: CamScene, shades: NDArray[np.floating]) -> NDArray[np.float64]:
    """(H, W, 3) in [0, 1]: the grey image, with each class's colour as far as its map is strong.

    Where several are, the strongest one's colour is shown.  shades: (C, 3) RGB of the classes, in [0, 1].
    """
    grey = np.repeat(scene.image.mean(axis=2, keepdims=True) / 255, 3, axis=2)
    if not scene.tags:
        return np.asarray(grey)
    strength = scene.maps.max(axis=0).astype(np.float64)[:, :, None]
    strongest = np.array(scene.tags)[scene.maps.argmax(axis=0)]
    return np.asarray((1 - strength) * grey + strength * shades[strongest])


def painted(labels: NDArray[np.uint8], shades: NDArray[np.floating]) -> NDArray[np.float64]:
    """(H, W, 3) in [0, 1]: classes in their colours, background dark, unlabelled pixels light, void white.

    shades: (C, 3) RGB of the classes, in [0, 1].
    """
    table = np.ones((256, 3))
    table[: len(shades)] = shades
    for code, (_, grey) in CODES.items():
        table[code] = grey
    return np.asarray(table[labels])
