"""The preview of labels from class activation maps: a picture of a few images, and figures of all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.data.images import ImageStore
from pipeline.data.packs import Pack
from pipeline.errors import UserError
from pipeline.files import read_json, replacing, write_json
from pipeline.report.cam_preview import PANEL, CamScene, cam_preview
from pipeline.report.panels import panel_size
from pipeline.report.sampling import spread_evenly

SCENES = 4
_REMEDY = "run `dvc repro` to make it anew"


def preview_cams(store: ImageStore, cams: Pack, labels: Path, picture: Path, figures: Path) -> None:
    """Write a PNG of images evenly spread over those with tags, their maps and labels, and figures as JSON.

    cams: (n, h, w) maps in [0, 1] of the n tags of each image; labels: the folder of the label set made of
    them; figures: `images`, and `labelled`, the share of their pixels that have a label.  Raises UserError
    for files that are damaged or do not fit each other, and when no image has a tag.
    """
    file = labels / "labels.json"
    content = read_json(file)
    try:
        classes = [str(name) for name in content["classes"]]
        tagged = [row for row in content["images"] if row["tags"]]
        measured = {key: content["info"]["figures"][key] for key in ("images", "labelled")}
    except (KeyError, TypeError) as error:
        problem = f"is not a label set of class activation maps ({type(error).__name__}: {error})"
        raise UserError(file, "", problem, _REMEDY) from None
    if not tagged:
        raise UserError(file, "images", "none has a tag, so there is no map to show", "tag the images")
    maps = Pack(labels / "maps")
    scenes = [_scene(store, cams, maps, row) for row in spread_evenly(tagged, SCENES)]
    png = cam_preview(scenes, classes)
    with replacing(picture) as temporary:
        temporary.write_bytes(png)
    write_json(figures, measured)


def _scene(store: ImageStore, cams: Pack, maps: Pack, row: dict[str, Any]) -> CamScene:
    image_id, tags = row["id"], tuple(row["tags"])
    image, scores, labels = store.read(image_id), cams.read(image_id), maps.read(image_id)
    if scores.ndim != 3 or len(scores) != len(tags):
        problem = f"has maps of shape {scores.shape}, and its image {len(tags)} tags"
        raise UserError(cams.folder, f"image {image_id}", problem, _REMEDY)
    if labels.shape != image.shape[:2]:
        problem = f"has a map of shape {labels.shape}, and its image {image.shape[:2]}"
        raise UserError(maps.folder, f"image {image_id}", problem, _REMEDY)
    size = shown_size(*image.shape[:2])
    return CamScene(
        file_name=row["file_name"],
        image=np.asarray(_resized(image, size, cv2.INTER_AREA), np.uint8),
        tags=tags,
        maps=np.stack([_resized(one.astype(np.float32), size, cv2.INTER_LINEAR) for one in scores]),
        labels=np.asarray(_resized(labels, size, cv2.INTER_NEAREST), np.uint8),
    )


def shown_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) that a panel needs of an image: small ones as they are, since drawing enlarges them."""
    return (height, width) if max(height, width) <= PANEL else panel_size(height, width, PANEL)


def _resized(values: NDArray[Any], size: tuple[int, int], method: int) -> NDArray[Any]:
    return values if values.shape[:2] == size else cv2.resize(values, size[::-1], interpolation=method)
