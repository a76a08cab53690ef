"""Weak labels of the semantic task from label maps: what an annotator with less time would have given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.label_codes import BACKGROUND
from pipeline.data.masks import decode
from pipeline.data.packs import Pack, encode_map, write_pack
from pipeline.engine.parallel import HERE, map_images
from pipeline.errors import UserError
from pipeline.files import replacing_folder, write_json
from pipeline.labels.clicks import click
from pipeline.labels.draws import labelled_size, uniform_order
from pipeline.labels.partial_maps import Mark, draw_marks
from pipeline.labels.regions import Region, classes_in, find_background, find_objects
from pipeline.labels.semantic_maps import class_index, rows_by_image
from pipeline.labels.strokes import draw_stroke, part_of, without_stroke
from pipeline.labels.weak import is_usable
from pipeline.params.executor import Executor
from pipeline.params.semantic_labels import (
    AnnotatedPoints,
    BoxLabels,
    PixelLabels,
    PointLabels,
    ScribbleLabels,
    TagLabels,
    WeakLabels,
)

Row = dict[str, Any]
_BACKGROUND_STROKE = 0.5  # of the image's diagonal: nobody goes all the way round an object
KINDS = {"annotated_points": "points"}  # what a reader of the labels need not tell apart


@dataclass(frozen=True)
class Item:
    """One image: its record, the annotations of instances with a mask, and points that annotators set."""

    image: Row
    rows: tuple[Row, ...] = ()
    points: tuple[Row, ...] = ()


@dataclass(frozen=True)
class Given:
    """What an annotator gives for one image: its classes, rows of the label file, a map as PNG or None."""

    tags: list[int]
    rows: list[Row] = field(default_factory=list)
    encoded: bytes | None = None


def write_weak_labels(
    semantic: Path, annotations: Row, row: WeakLabels, folder: Path, executor: Executor = HERE
) -> Row:
    """Write a label set, labels.json and, but for tags and boxes, the pack maps/; returns its figures.

    semantic: pack of the split's label maps; annotations: its checked COCO dict; executor: where images are
    labelled.  The images are a head of one uniform order (labels/draws.py), so that a smaller share is part
    of a larger one.  Every image has a random generator of its own, from the seed and its id, so that more
    images or other processes change nothing, and shorter strokes are parts of longer ones.  `folder` is
    replaced as a whole or not at all.  Raises UserError when the maps and the annotations are not of the same
    images, and for a share that is less than one image.
    """
    pack = Pack(semantic)
    images = sorted(annotations["images"], key=lambda image: int(image["id"]))
    if [image["id"] for image in images] != pack.ids:
        raise UserError(semantic, "", "holds maps of other images than the annotations", "run `dvc repro`")
    images = _drawn(images, row, semantic)
    items = _items(annotations, images)
    make = partial(_give, pack, row, class_index(annotations), bool(pack.about["background"]))
    given = map_images(make, items, row.processes, f"giving {row.kind}", executor)
    return write_label_set(
        folder,
        KINDS.get(row.kind, row.kind),
        row.model_dump(exclude={"processes"}),
        list(pack.about["classes"]),
        bool(pack.about["background"]),
        zip(images, given, strict=True),
    )


def write_label_set(
    folder: Path,
    kind: str,
    made: Row,
    classes: list[str],
    background: bool,
    given: Iterator[tuple[Row, Given]],
) -> Row:
    """Write labels.json and maps/ from what was given for each image, in the order of `given`.

    kind: what `SemanticLabels` reads; made: how the labels came about, kept under info; given: records of
    images (id, file_name, width, height) with their labels.  Streams: one map is in memory at a time.
    Returns figures: images, marks (points, strokes or boxes), and of each class, images that have its tag.
    """
    images: list[Row] = []
    rows: list[Row] = []

    def maps() -> Iterator[tuple[int, bytes]]:
        for image, labels in given:
            record = {key: image[key] for key in ("id", "file_name", "width", "height")}
            images.append({**record, "tags": labels.tags})
            rows.extend({**row, "image_id": image["id"]} for row in labels.rows)
            if labels.encoded is not None:
                yield image["id"], labels.encoded

    about = {"classes": classes, "background": background}
    with replacing_folder(folder) as temporary:
        if kind in ("tags", "boxes"):
            for _ in maps():
                raise ValueError(f"{kind} have no maps")
        else:
            write_pack(temporary / "maps", maps(), about)
        content = {
            "info": {"kind": kind, "background": background, "made": made},
            "classes": classes,
            "images": images,
            **_own_part(kind, rows, classes, background),
        }
        write_json(temporary / "labels.json", content, indent=None)
    tags = np.array([tag for image in images for tag in image["tags"]], dtype=np.int64)
    return {
        "images": len(images),
        "marks": len(rows),
        "images_with": np.bincount(tags, minlength=len(classes)).tolist(),
    }


def _own_part(kind: str, rows: list[Row], classes: list[str], background: bool) -> Row:
    if kind == "boxes":
        annotations = [{"id": key, **row} for key, row in enumerate(rows, 1)]
        first = 1 if background else 0
        categories = [{"id": key, "name": name} for key, name in enumerate(classes) if key >= first]
        return {"annotations": annotations, "categories": categories}
    return {kind: rows} if kind in ("points", "scribbles") else {}


def _drawn(images: list[Row], row: WeakLabels, source: Path) -> list[Row]:
    """The images that are labelled, in the order of their ids."""
    size = labelled_size(row.percent, len(images), source)
    return [images[place] for place in sorted(uniform_order(len(images), row.seed)[:size].tolist())]


def _items(annotations: Row, images: list[Row]) -> list[Item]:
    rows = rows_by_image(annotations)
    points: dict[int, list[Row]] = {image["id"]: [] for image in annotations["images"]}
    for point in annotations.get("points", ()):
        points[point["image_id"]].append(point)
    return [
        Item(
            image,
            tuple(row for row in rows[image["id"]] if is_usable(row, "masks")),
            tuple(points[image["id"]]),
        )
        for image in images
    ]


def _give(pack: Pack, row: WeakLabels, index: dict[int, int], background: bool, item: Item) -> Given:
    image_id = item.image["id"]
    values = pack.read(image_id)
    if values.shape != (item.image["height"], item.image["width"]):
        raise UserError(pack.folder, f"image {image_id}", "its map has another size", "run `dvc repro`")
    if isinstance(row, TagLabels):
        return Given(tags_of(classes_in(values)))
    if isinstance(row, PixelLabels):
        return Given(tags_of(classes_in(values)), encoded=encode_map(values))
    if isinstance(row, AnnotatedPoints):
        marks = _annotated(row, item, values) if background else _annotated_alone(item)
        return _points(values, marks, row.radius)
    masks = decode([one["segmentation"] for one in item.rows], (values.shape[0], values.shape[1]))
    instances = [(index[one["category_id"]], mask) for one, mask in zip(item.rows, masks, strict=True)]
    objects = find_objects(values, instances, row.min_area, background)
    if isinstance(row, BoxLabels):
        return Given(tags_of([region.label for region in objects]), [_box(region) for region in objects])
    behind = find_background(values, row.min_area) if background and row.background else []
    if isinstance(row, PointLabels):
        return _points(values, _clicks(row, image_id, objects, behind), row.radius)
    return _scribbles(values, _strokes(row, item.image, objects, behind), row.radius)


def tags_of(labels: list[int]) -> list[int]:
    """Classes as tags: class 0 is none, whether it is a background or, in full scenes, a class (SPML)."""
    return sorted({label for label in labels if label != BACKGROUND})


def _box(region: Region) -> Row:
    height, width = region.mask.shape
    return {
        "category_id": region.label,
        "bbox": [region.left, region.top, width, height],
        "area": width * height,  # the box's own: a mask's would give away its shape
        "iscrowd": 0,
    }


def generator(seed: int, image_id: int, *place: int) -> np.random.Generator:
    """Random numbers for one mark of an image, whatever else is drawn."""
    return np.random.default_rng([seed, image_id % 2**64, *place])


def _clicks(row: PointLabels, image_id: int, objects: list[Region], behind: list[Region]) -> list[Mark]:
    marks = _background_clicks(row.background, generator(row.seed, image_id), behind)
    for place, region in enumerate(objects, 1):
        corner = np.array([region.left, region.top])
        points = click(region.mask, row.per_object, generator(row.seed, image_id, place))
        marks += [(region.label, point[None]) for point in points + corner]
    return marks


def _background_clicks(count: int, rng: np.random.Generator, behind: list[Region]) -> list[Mark]:
    """Clicks into all parts of the background at once: most into the widest, none into slivers."""
    if not behind or not count:
        return []
    right = max(region.left + region.mask.shape[1] for region in behind)
    bottom = max(region.top + region.mask.shape[0] for region in behind)
    whole = np.zeros((bottom, right), dtype=bool)
    for region in behind:
        height, width = region.mask.shape
        whole[region.top : region.top + height, region.left : region.left + width] |= region.mask
    return [(BACKGROUND, point[None]) for point in click(whole, count, rng)]


def _annotated(row: AnnotatedPoints, item: Item, values: NDArray[np.uint8]) -> list[Mark]:
    behind = find_background(values, row.min_area) if row.background else []
    rng = generator(row.seed, item.image["id"])
    return _background_clicks(row.background, rng, behind) + _annotated_alone(item)


def _annotated_alone(item: Item) -> list[Mark]:
    return [(point["class"], np.array([[point["x"], point["y"]]])) for point in item.points]


def _strokes(row: ScribbleLabels, image: Row, objects: list[Region], behind: list[Region]) -> list[Mark]:
    marks: list[Mark] = []
    rng = generator(row.seed, image["id"])
    longest = _BACKGROUND_STROKE * float(np.hypot(image["width"], image["height"]))
    parts = [(region, region.mask) for region in behind]
    while parts and len(marks) < row.background:
        region, mask = parts.pop(0)
        stroke = draw_stroke(mask, rng, longest)
        marks.append((BACKGROUND, _kept(row, stroke, region, rng)))
        rest = without_stroke(mask, stroke)
        if rest.sum() >= row.min_area:
            parts.append((region, rest))
        parts.sort(key=lambda part: -int(part[1].sum()))
    for place, region in enumerate(objects, 1):
        rng = generator(row.seed, image["id"], place)
        stroke = draw_stroke(region.mask, rng)
        marks.append((region.label, _kept(row, stroke, region, rng)))
    return marks


def _kept(
    row: ScribbleLabels, stroke: NDArray[np.int64], region: Region, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The part of a stroke that the length leaves, from the region's window to the image."""
    part = part_of(stroke, row.length, rng.random())
    return np.add(part, [region.left, region.top], dtype=np.int64)


def _points(values: NDArray[np.uint8], marks: list[Mark], radius: int) -> Given:
    rows = [{"class": label, "x": int(point[0, 0]), "y": int(point[0, 1])} for label, point in marks]
    return marked(draw_marks((values.shape[0], values.shape[1]), marks, radius), marks, rows)


def _scribbles(values: NDArray[np.uint8], marks: list[Mark], radius: int) -> Given:
    rows = [{"class": label, "stroke": stroke.tolist()} for label, stroke in marks]
    return marked(draw_marks((values.shape[0], values.shape[1]), marks, radius), marks, rows)


def marked(drawn: NDArray[np.uint8], marks: list[Mark], rows: list[Row]) -> Given:
    """What is given by marks: their classes as tags, their rows of the label file, the map with them."""
    return Given(tags_of([label for label, _ in marks]), rows, encode_map(drawn))
