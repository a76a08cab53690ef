"""Training images with the boxes of a label set and the masks that labelers gave to them, to judge by eye."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pipeline.data.images import ImageStore
from pipeline.evaluation.results import category_names
from pipeline.labels.json_stream import elements
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.report.data import Scene
from pipeline.report.scenes import make_shapes, sample_images


def load_training_scenes(layout: Layout, params: Params) -> tuple[Scene, ...]:
    """The images of `make_training_scenes` for each box label set that pseudo-labels are made of.

    3 * report.gallery each.  Raises UserError for a missing file, KeyError for one with another layout.
    """
    sets: dict[str, dict[str, Path]] = defaultdict(dict)
    for name, made in params.pseudo_labels.items():
        sets[made.labels][name] = layout.labels(name)
    if not sets or not params.report.gallery:
        return ()
    store = ImageStore.open(layout.prepared / "train", layout.root)
    return tuple(
        scene
        for boxes, made_of in sets.items()
        for scene in make_training_scenes(layout.labels(boxes), made_of, store, 3 * params.report.gallery)
    )


def make_training_scenes(
    boxes: Path, made: Mapping[str, Path], store: ImageStore, count: int
) -> tuple[Scene, ...]:
    """At most `count` images of the label file `boxes`, evenly spread over those that have boxes.

    made: name -> file of the pseudo-labels of those boxes.  In a scene, `truth` is the boxes and
    `predictions` are the masks of each set.  Label files are read piece by piece: what stays in memory is
    the annotations of the shown images and the ids of images.
    """
    own = (row.value for row in elements(boxes, "annotations"))
    ranks = sample_images((row for row in own if not row.get("iscrowd")), count)
    names = category_names({"categories": [row.value for row in elements(boxes, "categories")]})
    drawn = _annotations(boxes, ranks)
    given = {name: _annotations(path, ranks) for name, path in made.items()}
    records = {record.id: record for record in store.records if record.id in ranks}
    return tuple(
        Scene(
            image,
            records[image].file_name,
            rank,
            store.read(image),
            make_shapes(names, drawn[image]),
            {name: make_shapes(names, rows[image]) for name, rows in given.items()},
            dict.fromkeys(given),
        )
        for image, rank in ranks.items()
    )


def _annotations(path: Path, images: Collection[int]) -> dict[int, list[dict[str, Any]]]:
    """The annotations of each of the images, in the order of the file."""
    found: dict[int, list[dict[str, Any]]] = {image: [] for image in images}
    for row in elements(path, "annotations"):
        if row.value["image_id"] in found:
            found[row.value["image_id"]].append(row.value)
    return found
