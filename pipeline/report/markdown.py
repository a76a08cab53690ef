"""report.md: the summary, the tables and the figures as GitHub shows them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

from pipeline.report.data import ReportData
from pipeline.report.semantic_pictures import confused
from pipeline.report.templates import content, environment

PICTURES = {
    "ap.png": "The headline figure of every row, with its interval",
    "retention.png": "Share of the oracle's AP that each row retains",
    "mask_iou.png": "Mask IoU in ground-truth boxes, with its interval",
    "label_efficiency.png": "The headline figure over the share of training images with labels",
    "annotation_cost.png": "The headline figure over the hours that the labels cost",
    "pseudo_masks.png": "Masks that teachers gave their students, over the training",
    "curves.png": "Learning curves",
    "gallery.png": "Images of the gallery, with what every row makes of them",
}


def report_md(data: ReportData, pictures: Iterable[str]) -> str:
    """The report as GitHub-flavoured Markdown.  pictures: names of the files in figures/ to show."""
    templates = environment(autoescape=False)
    templates.filters["md"] = escape_md
    shown = set(pictures)
    return templates.get_template("report.md.j2").render(
        **content(data),
        semantic_pictures=semantic_pictures(data, shown),
        semantic_priors=[
            prior for prior in (data.label_maps.priors if data.label_maps else ()) if prior.file in shown
        ],
        pictures=[(name, PICTURES[name]) for name in PICTURES if name in shown],
    )


def semantic_pictures(data: ReportData, shown: set[str]) -> list[tuple[str, str]]:
    """(file, text) of the figures of label maps."""
    if data.label_maps is None:
        return []
    texts = {"label_map_cost.png": "mIoU over the seconds that the labels of an image take"}
    texts |= {
        f"confusion_{row.name}.png": f"Which classes {row.title} takes for which"
        for row in confused(data.label_maps)
    }
    texts["label_map_curves.png"] = "Learning curves of the networks of label maps"
    texts["label_maps.png"] = "Images with ground truth, prediction and errors"
    return [(name, text) for name, text in texts.items() if name in shown]


def escape_md(text: str) -> str:
    """Text that shows as it is: neither HTML nor Markdown nor the end of a table cell."""
    plain = escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", plain)
