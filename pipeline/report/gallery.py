"""Gallery pictures: transparent overlays on the image, for the page (in layers) and the PNG (flattened)."""

from __future__ import annotations

import base64
from collections import Counter
from typing import Protocol

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.report.data import ReportData, Row, Scene, Shape
from pipeline.report.figures import shorten
from pipeline.report.palette import FALSE_ALARM, HIT, INK, MISS, MUTED, RUNS
from pipeline.report.panels import LONG_SIDE, panel_size
from pipeline.report.words import number

FILL = 145  # opacity, 0..255, of a coloured region
LOSSLESS_SIDE = 200  # images up to this size are stored without loss

Picture = NDArray[np.uint8]  # (H, W, 3) RGB or (H, W, 4) RGBA


class Pictured(Protocol):
    """What has an image, (H, W, 3) uint8 RGB."""

    @property
    def image(self) -> Picture:
        """(H, W, 3) RGB."""


def shown_image(scene: Pictured) -> Picture:
    """The image without enlargement (the page enlarges sharply by itself), reduced when it is large."""
    height, width = scene.image.shape[:2]
    if max(height, width) <= LONG_SIDE:
        return scene.image
    rows, columns = panel_size(height, width)
    return np.asarray(cv2.resize(scene.image, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)


def class_colors(data: ReportData) -> dict[str, str]:
    """Class -> #rrggbb, in the dataset's order, repeating after the palette's end."""
    scenes = (*data.scenes, *data.training_scenes)
    shown = [shapes for scene in scenes for shapes in (scene.truth, *scene.predictions.values())]
    names = {shape.category for shapes in shown for shape in shapes}
    known = [*data.summary.instances, *sorted(names.difference(data.summary.instances))]
    return {name: RUNS[index % len(RUNS)] for index, name in enumerate(known)}


def objects_overlay(scene: Scene, shapes: tuple[Shape, ...], colors: dict[str, str]) -> Picture:
    """Objects filled with the colour of their class; a box is outlined where there is no mask.  (H, W, 4).

    The smaller of two that overlap, by their boxes, is on top: it would vanish under the larger one.
    """
    canvas = _canvas(scene)
    shapes = tuple(sorted(shapes, key=lambda shape: -shape.box[2] * shape.box[3]))
    for shape in shapes:
        mask = _enlarged(shape, canvas)
        if mask is not None and not shape.crowd:
            canvas[mask] = (*_rgb(colors[shape.category]), FILL)
    for shape in shapes:
        mask = _enlarged(shape, canvas)
        _outline(canvas, _box_mask(shape, scene, canvas) if mask is None else mask)
    return canvas


def errors_overlay(scene: Scene, shapes: tuple[Shape, ...]) -> Picture:
    """Pixels of `shapes` coloured as hit, miss or false alarm, each class by itself.  (H, W, 4).

    A pixel is a hit where shape and object of the same class agree; crowds are left out of account.
    Predicted outlines are drawn on top.
    """
    canvas = _canvas(scene)
    hit, miss, false = np.zeros((3, *canvas.shape[:2]), dtype=bool)
    objects = [shape for shape in scene.truth if not shape.crowd]
    for category in sorted({shape.category for shape in (*objects, *shapes)}):
        truth = _union([shape for shape in objects if shape.category == category], canvas)
        found = _union([shape for shape in shapes if shape.category == category], canvas)
        hit |= truth & found
        miss |= truth & ~found
        false |= found & ~truth
    false &= ~_union([shape for shape in scene.truth if shape.crowd], canvas)
    for region, value in ((hit, HIT), (miss, MISS), (false, FALSE_ALARM)):
        canvas[region] = (*value, FILL)
    for shape in shapes:
        mask = _enlarged(shape, canvas)
        if mask is not None:
            _outline(canvas, mask)
    return canvas


def row_overlay(scene: Scene, name: str, colors: dict[str, str]) -> Picture:
    """What row `name` predicts: errors where the objects' masks are known, else the objects it found."""
    shapes = scene.predictions[name]
    known = all(shape.mask is not None for shape in scene.truth)
    return errors_overlay(scene, shapes) if known else objects_overlay(scene, shapes, colors)


def _canvas(scene: Scene) -> Picture:
    return np.zeros((*panel_size(*scene.image.shape[:2]), 4), dtype=np.uint8)


def _enlarged(shape: Shape, canvas: Picture) -> NDArray[np.bool_] | None:
    if shape.mask is None:
        return None
    size = (canvas.shape[1], canvas.shape[0])
    return np.asarray(cv2.resize(shape.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0)


def _box_mask(shape: Shape, scene: Scene, canvas: Picture) -> NDArray[np.bool_]:
    mask = np.zeros(canvas.shape[:2], dtype=bool)
    x, y, width, height = shape.box
    factor = canvas.shape[0] / scene.image.shape[0]
    top, left = max(0, round(y * factor)), max(0, round(x * factor))
    mask[top : round((y + height) * factor), left : round((x + width) * factor)] = True
    return mask


def _union(shapes: list[Shape], canvas: Picture) -> NDArray[np.bool_]:
    union = np.zeros(canvas.shape[:2], dtype=bool)
    for shape in shapes:
        mask = _enlarged(shape, canvas)
        if mask is not None:
            union |= mask
    return union


def _outline(canvas: Picture, mask: NDArray[np.bool_]) -> None:
    """White along the inside of the mask's edge and black around it: visible on any image."""
    solid = mask.astype(np.uint8)
    cross = np.asarray(cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)), np.uint8)
    inner = cv2.erode(solid, cross, iterations=3, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    outer = cv2.dilate(solid, cross, iterations=2)
    canvas[(outer > 0) & ~mask] = (0, 0, 0, 190)
    canvas[mask & (inner == 0)] = (255, 255, 255, 255)


def _rgb(value: str) -> tuple[int, int, int]:
    return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)


# --- words and files --------------------------------------------------------------------------------


def count_objects(shapes: tuple[Shape, ...]) -> list[tuple[str, int]]:
    """Which classes the shapes are of and how often, most frequent first; without crowds."""
    counts = Counter(shape.category for shape in shapes if not shape.crowd)
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def row_note(data: ReportData, scene: Scene, row: Row) -> str:
    """How well a row does in a scene, for people: "82 % mean IoU, 1 box without a mask"; "" if unknown."""
    figure = "mean box IoU" if data.headline_metric == "box_AP" else "mean IoU"
    quality = scene.quality.get(row.name)
    notes = [] if quality is None else [f"{number(quality, 0)} % {figure}"]
    empty = sum(shape.mask is not None and not shape.mask.any() for shape in scene.predictions[row.name])
    if empty and not row.detects:
        notes.append(_without_mask(empty))
    return ", ".join(notes)


def set_note(scene: Scene, name: str) -> str:
    """How many boxes of a training image have no mask in the set `name`: "2 boxes without a mask", or ""."""
    boxes = sum(not shape.crowd for shape in scene.truth)
    masks = (shape.mask for shape in scene.predictions[name] if not shape.crowd)
    return _without_mask(boxes - sum(mask is not None and bool(mask.any()) for mask in masks))


def _without_mask(count: int) -> str:
    return f"{count} {'box' if count == 1 else 'boxes'} without a mask" if count else ""


def data_uri(picture: Picture) -> str:
    """The picture as a data: URI; PNG when small or transparent, else JPEG."""
    lossless = picture.shape[2] == 4 or max(picture.shape[:2]) <= LOSSLESS_SIDE
    order = cv2.COLOR_RGBA2BGRA if picture.shape[2] == 4 else cv2.COLOR_RGB2BGR
    options = [cv2.IMWRITE_PNG_COMPRESSION, 9] if lossless else [cv2.IMWRITE_JPEG_QUALITY, 88]
    _, data = cv2.imencode(".png" if lossless else ".jpg", cv2.cvtColor(picture, order), options)
    kind = "png" if lossless else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data.tobytes()).decode('ascii')}"


def png_uri(data: bytes) -> str:
    """PNG bytes as a data: URI."""
    return f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"


def flatten(scene: Pictured, overlay: Picture) -> Picture:
    """The image in grey, enlarged without smoothing, below the overlay in its true colours.  (H, W, 3)."""
    size = (overlay.shape[1], overlay.shape[0])
    grey = cv2.cvtColor(shown_image(scene), cv2.COLOR_RGB2GRAY)
    image = cv2.resize(grey, size, interpolation=cv2.INTER_NEAREST).astype(np.float32)[:, :, None]
    opacity = overlay[:, :, 3:].astype(np.float32) / 255
    return np.asarray(np.rint(image * (1 - opacity) + overlay[:, :, :3] * opacity), np.uint8)


def gallery_figure(data: ReportData) -> Figure:
    """All scenes as rows of panels: image, ground truth, then every row of the comparison."""
    colors = class_colors(data)
    columns = 2 + len(data.rows)
    height = 2.0 * len(data.scenes)
    figure = Figure(figsize=(1.75 * columns, height), dpi=110)
    # Margins by hand: an automatic layout of some sixty panels takes seconds.
    margins = {"left": 0.005, "right": 0.995, "top": 1 - 0.22 / height, "bottom": 0.05 / height}
    grid = figure.add_gridspec(len(data.scenes), columns, wspace=0.04, hspace=0.14, **margins)
    for index, scene in enumerate(data.scenes):
        panels = [
            (f"{scene.rank}: {scene.file_name}", shown_image(scene)),
            ("ground truth", flatten(scene, objects_overlay(scene, scene.truth, colors))),
        ]
        panels += [(row.title, flatten(scene, row_overlay(scene, row.name, colors))) for row in data.rows]
        for place, (title, picture) in enumerate(panels):
            axes = figure.add_subplot(grid[index, place])
            axes.imshow(picture, interpolation="nearest")
            axes.set_axis_off()
            axes.set_title(shorten(title, 26), fontsize=7, color=INK if place else MUTED)
    return figure
