"""What training starts from: over-segmentations and labels from CAMs, in pictures and words."""

from __future__ import annotations

from typing import Any

from pipeline import params
from pipeline.errors import UserError
from pipeline.files import read_json
from pipeline.layout import Layout
from pipeline.report.semantic_data import PriorPreview
from pipeline.report.words import number, percentage


def load_priors(layout: Layout, settings: params.Params) -> tuple[PriorPreview, ...]:
    """The preview of every over-segmentation, then of every label set made of class activation maps.

    Raises UserError for a missing file, KeyError or TypeError for one with another layout.
    """
    made = [_of_segments(layout, settings, name) for name in settings.all_segments]
    return (*made, *(_of_cams(layout, settings, name) for name in settings.cam_labels))


def _of_segments(layout: Layout, settings: params.Params, name: str) -> PriorPreview:
    figures = read_json(layout.preview_figures("segments", name))
    return PriorPreview(
        kind="segments",
        name=name,
        stage=f"{'segments' if name in settings.segments else 'file_segments'}@{name}",
        text=f"{regions(figures)} {segments_text(settings.all_segments[name])}",
        png=_png(layout, "segments", name),
    )


def _of_cams(layout: Layout, settings: params.Params, name: str) -> PriorPreview:
    figures = read_json(layout.preview_figures("cams", name))
    images, labelled = f"{figures['images']:,}", percentage(figures["labelled"])
    return PriorPreview(
        kind="cams",
        name=name,
        stage=f"{'tag_cam_labels' if name in settings.tag_cam_labels else 'box_cam_labels'}@{name}",
        text=f"{labels_text(settings.cam_labels[name])} {labelled} of the pixels of {images} training images"
        " have a label.",
        png=_png(layout, "cams", name),
    )


def _png(layout: Layout, kind: str, name: str) -> bytes:
    file = layout.preview(kind, name)
    try:
        return file.read_bytes()
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise UserError(file, "", problem, "run `dvc repro` to make it") from None


def regions(figures: dict[str, Any]) -> str:
    """How many regions there are, in a sentence."""
    fewest, most = figures["fewest"], figures["most"]
    if fewest == most:
        return f"{most} regions in each of {figures['images']:,} training images."
    mean = number(figures["mean"])
    return f"{fewest} to {most} regions in each of {figures['images']:,} training images, {mean} on average."


def segments_text(row: params.Segments) -> str:
    """How the regions are made, in sentences."""
    match row.hierarchy.kind:
        case "mean_boundary":
            merged = "regions merged across the weakest mean boundary first"
        case "area" | "volume":
            merged = f"watershed by {row.hierarchy.kind}"
    if row.cut.kind == "level":
        cut = f"borders of a strength above {row.cut.level:g} are kept"
    else:
        cut = f"cut at {row.cut.count} regions"
    small = f"; regions below {row.min_region} pixels join a neighbour" if row.min_region else ""
    return f"{_contours(row.contours)}; {merged}; {cut}{small}."


def _contours(contours: params.Contours) -> str:
    match contours.kind:
        case "built_in":
            return "Contours of brightness, colour and texture"
        case "gradient":
            return f"Contours of brightness and colour (sigma {contours.sigma:g})"
        case "hed":
            return f"Contours by HED, with the weights {contours.path}"
        case "files":
            return f"Contour maps from {contours.path}"


def labels_text(row: params.CamLabels) -> str:
    """How labels are made of the maps, in sentences."""
    source = f"From the class activation maps “{row.cams}” of the tags “{row.labels}”"
    if isinstance(row, params.BoxCamLabels):
        return (
            f"{source} and the boxes “{row.boxes}”. A pixel has the class of its box where the map, rescaled"
            f" to 0 to 1 in the box, is above {row.threshold:g}; the rest of the box is unlabelled, and all"
            " pixels outside of boxes are background."
        )
    match row.background:
        case params.PowerBackground(alpha=alpha):
            score = f"(1 − greatest map) to the power of {alpha:g}"
        case params.ConstantBackground(score=constant):
            score = f"{constant:g} everywhere"
    return (
        f"{source}. A pixel has the class of the greatest map, or is background, whose score is {score};"
        f" it is unlabelled where the best score is below {row.least_score:g}."
    )
