"""Label sets that an over-segmentation alone makes of points, strokes or partial label maps."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from pipeline.data.images import ImageStore
from pipeline.data.packs import Pack, encode_map
from pipeline.engine.parallel import HERE, map_images
from pipeline.errors import UserError
from pipeline.labels.semantic_labels import SemanticLabels
from pipeline.labels.weak_semantic import Given, write_label_set
from pipeline.params.executor import Executor
from pipeline.params.semantic_labels import GrownLabels
from pipeline.priors.region_growing import grow_labels


def write_grown_labels(
    row: GrownLabels,
    labels: SemanticLabels,
    store: ImageStore,
    segments: Path,
    folder: Path,
    name: str,
    executor: Executor = HERE,
) -> None:
    """Write the label set `folder`: the maps of `labels`, spread over the regions of `segments`.

    labels: of kind points, scribbles or another with maps; store: their images; segments: pack of region ids;
    executor: where images are labelled.  `folder` is replaced as a whole or not at all.  Raises UserError for
    files that do not fit each other.
    """
    regions, ids = Pack(segments), list(labels.images)
    made = map_images(partial(_grow, labels, store, regions), ids, row.processes, f"labels {name}", executor)
    records = [
        {"id": image.id, "file_name": image.file_name, "width": image.width, "height": image.height}
        for image in labels.images.values()
    ]
    given = (Given(list(labels.images[key].tags), encoded=png) for key, png in zip(ids, made, strict=True))
    write_label_set(
        folder,
        "grown",
        row.model_dump(exclude={"processes"}),
        list(labels.classes),
        labels.background,
        zip(records, given, strict=True),
    )


def _grow(labels: SemanticLabels, store: ImageStore, segments: Pack, image_id: int) -> bytes:
    values, regions = labels.partial_map(image_id), segments.read(image_id)
    if regions.shape != values.shape:
        sizes = [f"{height} x {width}" for height, width in (regions.shape, values.shape)]
        problem = f"its regions are {sizes[0]} pixels, and its labels {sizes[1]} (height x width)"
        raise UserError(segments.folder, f"image {image_id}", problem, "run `dvc repro` to make them anew")
    return encode_map(grow_labels(values, regions, store.read(image_id), len(labels.classes)))
