"""The preview of an over-segmentation: a picture of a few images, and figures of all."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.images import ImageStore
from pipeline.data.packs import Pack
from pipeline.errors import UserError
from pipeline.files import replacing, write_json
from pipeline.report.sampling import spread_evenly
from pipeline.report.segments_figure import Segmented, segments_figure

SCENES = 6


def preview_segments(store: ImageStore, segments: Pack, picture: Path, figures: Path) -> None:
    """Write a PNG of images evenly spread over `store`, with their regions' borders, and figures as JSON.

    segments: (H, W) ids of the regions of each image; figures: `images`, and the `fewest`, `mean` and `most`
    regions of an image.  Raises UserError without an image, and for regions of another size than their image.
    """
    shown = spread_evenly([record.id for record in store.records], SCENES)
    if not shown:
        raise UserError(store.folder, "", "has no images", "give the dataset training images")
    png = segments_figure([_scene(store, segments, image) for image in shown])
    with replacing(picture) as temporary:
        temporary.write_bytes(png)
    write_json(figures, {key: segments.about[key] for key in ("images", "fewest", "mean", "most")})


def _scene(store: ImageStore, segments: Pack, image_id: int) -> Segmented:
    image, ids = store.read(image_id), segments.read(image_id)
    if ids.shape != image.shape[:2]:
        problem = f"has regions of shape {ids.shape}, and its image {image.shape[:2]}"
        raise UserError(segments.folder, f"image {image_id}", problem, "run `dvc repro` to make both anew")
    return Segmented(image, ids)
