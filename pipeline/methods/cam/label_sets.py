"""Label sets made of class activation maps: what SPML is trained on where people gave tags or boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline import params
from pipeline.data.label_codes import UNLABELLED
from pipeline.data.packs import Pack, encode_map, write_pack
from pipeline.engine.parallel import HERE, map_images
from pipeline.errors import UserError
from pipeline.files import replacing_folder, write_json
from pipeline.methods.cam.packs import full_size, open_maps, read_maps
from pipeline.methods.cam.tags import TaggedRecord, TagSource, check_background
from pipeline.priors.cam_labels import labels_from_boxes, labels_from_tags


class BoxLabels(TagSource, Protocol):
    """A label set of boxes."""

    def boxes(self, image_id: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """(N,) classes, indices of 1 or more, and (N, 4) x1 y1 x2 y2 of an image's boxes, in pixels."""

    def crowds(self, image_id: int) -> NDArray[np.float32]:
        """(M, 4) x1 y1 x2 y2 of an image's crowd regions."""


class _Item(NamedTuple):
    """An image, and the arguments of `labels_from_boxes` beside its maps: boxes, classes, crowds; or none."""

    image: TaggedRecord
    boxes: tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None


def write_cam_labels(
    row: params.CamLabels,
    cams: Path,
    labels: TagSource,
    out: Path,
    *,
    boxes: BoxLabels | None = None,
    name: str,
    executor: params.Executor = HERE,
) -> dict[str, Any]:
    """Write the label set `out`: labels.json with the tags of `labels`, and the pack maps/ of partial label
    maps.

    cams: the pack of the maps of the tags' classes; boxes: for a row of kind cam_boxes, of the same images;
    executor: where images are labelled.
    Returns figures: images, and labelled, the share of the pixels that are not unlabelled.  Raises UserError
    for files that do not fit each other and for full scenes, which have no background.
    """
    check_background(labels)
    pack = open_maps(cams, labels)
    label: Callable[[_Item], NDArray[np.uint8]]
    if isinstance(row, params.TagCamLabels):
        items, label = (
            [_Item(image, None) for image in labels.images.values()],
            partial(_from_tags, row, pack),
        )
    else:
        assert boxes is not None, "labels of kind cam_boxes need boxes"
        _check_boxes(boxes, labels)
        items = [_with_boxes(image, boxes) for image in labels.images.values()]
        label = partial(_from_boxes, row, pack)
    pixels = labelled = 0

    def members() -> Any:
        nonlocal pixels, labelled
        made = map_images(label, items, row.processes, f"labels {name}", executor)
        for item, labels_of_image in zip(items, made, strict=True):
            pixels += labels_of_image.size
            labelled += int((labels_of_image != UNLABELLED).sum())
            yield item.image.id, encode_map(labels_of_image)

    with replacing_folder(out) as temporary:
        write_pack(temporary / "maps", members(), {"classes": list(labels.classes)})
        figures = {"images": len(items), "labelled": labelled / max(pixels, 1)}
        write_json(temporary / "labels.json", _description(row, labels, figures), indent=None)
    return figures


def _from_tags(row: params.TagCamLabels, pack: Pack, item: _Item) -> NDArray[np.uint8]:
    return labels_from_tags(_maps(pack, item.image), item.image.tags, row)


def _from_boxes(row: params.BoxCamLabels, pack: Pack, item: _Item) -> NDArray[np.uint8]:
    assert item.boxes is not None
    return labels_from_boxes(_maps(pack, item.image), item.image.tags, *item.boxes, row.threshold)


def _maps(pack: Pack, image: TaggedRecord) -> NDArray[np.float32]:
    return full_size(read_maps(pack, image.id, image.tags), (image.height, image.width))


def _with_boxes(image: TaggedRecord, labels: BoxLabels) -> _Item:
    classes, boxes = labels.boxes(image.id)
    return _Item(image, (boxes, classes, labels.crowds(image.id)))


def _check_boxes(boxes: BoxLabels, labels: TagSource) -> None:
    """Raise UserError unless boxes and tags are of the same classes and images."""
    remedy = "make both from one dataset"
    if list(boxes.classes) != list(labels.classes):
        raise UserError(boxes.folder, "classes", f"are not those of {labels.folder}", remedy)
    if missing := [image_id for image_id in labels.images if image_id not in boxes.images]:
        raise UserError(boxes.folder, f"image {missing[0]}", f"is in {labels.folder}, but not here", remedy)


def _description(row: params.CamLabels, labels: TagSource, figures: dict[str, Any]) -> dict[str, Any]:
    """labels.json.  Without the number of processes, which makes no difference to what is written."""
    made = row.model_dump(mode="json", exclude={"processes"})
    info = {**made, "background": labels.background, "figures": figures}
    if isinstance(row, params.TagCamLabels):
        info["cam_background"] = row.background.model_dump(mode="json")
    return {"info": info, "classes": list(labels.classes), "images": _rows(list(labels.images.values()))}


def _rows(images: Sequence[TaggedRecord]) -> list[dict[str, Any]]:
    return [
        {
            "id": image.id,
            "file_name": image.file_name,
            "width": image.width,
            "height": image.height,
            "tags": list(image.tags),
        }
        for image in images
    ]
