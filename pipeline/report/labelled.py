"""What people labelled for a label set: of how many images, and how many boxes or masks they drew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.files import read_json
from pipeline.layout import Layout
from pipeline.params import Params


@dataclass(frozen=True)
class Labelled:
    """supervision: "masks" or "boxes"; images: labelled ones, those without objects among them, and `of` how
    many; objects: boxes or masks, without crowd regions; through: the run that made masks of them, or ""."""

    supervision: str
    images: int
    of: int
    objects: int
    through: str = ""

    @property
    def fraction(self) -> float:
        """The share of the training images that are labelled, in [0, 1]; 1 if there are none."""
        return self.images / self.of if self.of else 1.0


def load_labelled(layout: Layout, params: Params, labels: str) -> Labelled:
    """What people labelled for `labels`, from the figures of the dataset and of its splits.

    Raises UserError for a missing file, KeyError or TypeError for one with another layout.
    """
    if labels in params.partial:
        split = read_json(layout.split_metrics(labels))
        return Labelled("masks", split["images"], split["of"], split["objects"])
    train: dict[str, Any] = read_json(layout.summary)["splits"]["train"]
    supervision, made = params.supervision(labels), params.pseudo_labels.get(labels)
    boxes = train["annotations"] - train["crowds"]
    objects = train["objects_with_masks"] if supervision == "masks" else boxes
    return Labelled(supervision, train["images"], train["images"], objects, made.labeler if made else "")
