"""Gallery of label maps: image, ground truth, prediction without and with a dense CRF, and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from pipeline.data.images import ImageStore
from pipeline.data.packs import Pack
from pipeline.evaluation.picking import pick_images
from pipeline.evaluation.semantic import image_quality
from pipeline.evaluation.semantic_counts import SemanticCounts
from pipeline.report.figures import shorten
from pipeline.report.gallery import FILL, Picture, flatten, shown_image
from pipeline.report.palette import FALSE_ALARM, GRID, HIT, INK, MISS, MIX_UP, MUTED
from pipeline.report.panels import panel_size
from pipeline.report.semantic_data import SemanticClasses, SemanticScene
from pipeline.report.semantic_palette import VOID_COLOR, class_shades
from pipeline.report.words import number

PANEL = 1.75  # inches
VOID_OPACITY = 90  # 0..255
TITLE = 30  # characters above a panel
TITLE_ROOM = 0.22  # inches above a panel
TALLEST = 1.4  # height of a panel over its width
GAP = 0.04  # inches between panels, and half as much beside them
LINE = 0.19  # inches of a line of the legend, and how many colours it has
IN_LINE = 8


def semantic_scenes(
    store: ImageStore,
    truth: Pack,
    plain: Pack,
    crf: Pack | None,
    counts: SemanticCounts,
    count: int,
) -> tuple[SemanticScene, ...]:
    """`count` images each of the best, the median and the worst, by mean IoU over an image's own classes.

    truth: a pack of theirs is enough, as `write_shown_truth` keeps it.
    """
    quality, names = image_quality(counts), {record.id: record.file_name for record in store.records}
    return tuple(
        SemanticScene(
            names[image],
            rank,
            store.read(image),
            truth.read(image),
            plain.read(image),
            None if crf is None else crf.read(image),
            quality[image],
        )
        for image, rank in pick_images(quality, count).items()
    )


def label_overlay(labels: NDArray[np.uint8], classes: SemanticClasses) -> Picture:
    """(h, w, 4) a label map in the colours of its classes, enlarged as the image is.

    The background is left transparent; what has no ground truth is veiled in white.
    """
    colors = class_shades(classes.names, classes.background)
    table = np.zeros((256, 4), dtype=np.uint8)
    table[:] = (*VOID_COLOR, VOID_OPACITY)
    table[: len(colors), :3] = colors
    table[: len(colors), 3] = FILL
    if classes.background:
        table[0] = 0
    return np.asarray(table[_enlarged(labels)], np.uint8)


def mistakes_overlay(
    truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: SemanticClasses
) -> Picture:
    """(h, w, 4) right pixels, missed and false ones, and those of another class.

    Background that is predicted as such is left transparent.
    """
    count = len(classes.names)
    true, found = _enlarged(truth), _enlarged(predicted)
    known = true < count
    covered = (true > 0) if classes.background else np.ones_like(known)
    claimed = (found > 0) if classes.background else np.ones_like(known)
    canvas = np.zeros((*true.shape, 4), dtype=np.uint8)
    canvas[~known] = (*VOID_COLOR, VOID_OPACITY)
    for region, value in (
        (covered & claimed & (true == found), HIT),
        (covered & claimed & (true != found), MIX_UP),
        (covered & ~claimed, MISS),
        (~covered & claimed, FALSE_ALARM),
    ):
        canvas[region & known] = (*value, FILL)
    return canvas


def semantic_gallery(scenes: Sequence[SemanticScene], classes: SemanticClasses) -> Figure:
    """A row of panels per scene, and below them what the colours mean; call inside `settings`."""
    refined = any(scene.crf is not None for scene in scenes)
    columns = 5 if refined else 4
    shown = _class_patches(scenes, classes)
    foot = 0.12 + LINE * (1 - (-len(shown) // IN_LINE))
    width, height = PANEL * columns, sum(_height(scene) + TITLE_ROOM for scene in scenes) + foot
    figure = Figure(figsize=(width, height), dpi=130)
    bottom = height
    for scene in scenes:
        bottom -= _height(scene) + TITLE_ROOM
        for place, (title, picture) in enumerate(_panels(scene, classes, refined)):
            # By hand: in a grid's cell, a tall picture would take the room of its title, too.
            left = PANEL * place + GAP / 2
            axes = figure.add_axes(
                (left / width, bottom / height, (PANEL - GAP) / width, _height(scene) / height)
            )
            axes.imshow(picture, interpolation="nearest")
            axes.set_axis_off()
            axes.set_anchor("S")
            axes.set_title(shorten(title, TITLE), fontsize=7, pad=3, color=INK if place else MUTED)
    for below, handles in ((0.02, _mistake_patches(classes)), (0.02 + LINE, shown)):
        figure.legend(
            handles=handles,
            loc="lower center",
            bbox_to_anchor=(0.5, below / height),
            ncols=IN_LINE,
            fontsize=7,
            frameon=False,
            handlelength=1.0,
            handleheight=1.0,
            columnspacing=1.2,
            borderaxespad=0.0,
            borderpad=0.0,
        )
    return figure


def _height(scene: SemanticScene) -> float:
    """Inches of a row's pictures, without their titles; taller ones are made narrower."""
    rows, columns = scene.image.shape[:2]
    return float((PANEL - GAP) * min(rows / columns, TALLEST))


def _panels(scene: SemanticScene, classes: SemanticClasses, refined: bool) -> list[tuple[str, Picture]]:
    last = scene.plain if scene.crf is None else scene.crf
    quality = "" if scene.quality is None else f", mIoU {number(scene.quality, 0)} %"
    panels = [
        (f"{scene.rank}: {scene.file_name}", shown_image(scene)),
        ("ground truth", flatten(scene, label_overlay(scene.truth, classes))),
        (f"prediction{quality}", flatten(scene, label_overlay(scene.plain, classes))),
    ]
    if refined:
        panels.append(("with CRF", flatten(scene, label_overlay(last, classes))))
    errors = flatten(scene, mistakes_overlay(scene.truth, last, classes))
    return [*panels, (f"errors{' with CRF' if refined else ''}", errors)]


def _class_patches(scenes: Sequence[SemanticScene], classes: SemanticClasses) -> list[Patch]:
    """The classes that a panel shows."""
    maps = [each for scene in scenes for each in (scene.truth, scene.plain, scene.crf) if each is not None]
    seen = np.unique(np.concatenate([np.unique(labels) for labels in maps]))
    colors = class_shades(classes.names, classes.background)
    shown = [index for index in seen.tolist() if int(classes.background) <= index < len(colors)]
    return [_patch(tuple(colors[index].tolist()), classes.names[index]) for index in shown]


def _mistake_patches(classes: SemanticClasses) -> list[Patch]:
    kinds = [(HIT, "right"), (MIX_UP, "wrong class")]
    if classes.background:
        kinds += [(MISS, "missed"), (FALSE_ALARM, "false")]
    return [_patch(value, name) for value, name in [*kinds, (VOID_COLOR, "no ground truth")]]


def _patch(value: tuple[int, ...], name: str) -> Patch:
    red, green, blue = (part / 255 for part in value)
    return Patch(facecolor=(red, green, blue), edgecolor=GRID, linewidth=0.5, label=shorten(name, 18))


def _enlarged(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = panel_size(labels.shape[0], labels.shape[1])
    return np.asarray(cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
