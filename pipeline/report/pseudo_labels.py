"""The section on pseudo-labels: how good the masks are that labelers made for training."""

from __future__ import annotations

from typing import Any

from pipeline import params
from pipeline.files import read_json
from pipeline.layout import Layout
from pipeline.report.comparison import Cell
from pipeline.report.data import Interval, PseudoLabelSet, ReportData
from pipeline.report.words import number, span

HEADINGS = (
    ("Objects", "objects of the training images, without crowd regions"),
    ("Without mask", "boxes that got no pseudo-label, as too small ones do, or an empty one"),
    (
        "Mask IoU",
        "mean IoU with the training masks over the labelled objects; below it the 95 % bootstrap interval"
        " over training images",
    ),
    ("Small", "mean IoU of small objects, below 32 × 32 pixels"),
    ("Medium", "mean IoU of medium objects, up to 96 × 96 pixels"),
    ("Large", "mean IoU of large objects"),
    ("IoU ≥ 0.5", "the share of objects with that IoU; below it its 95 % interval"),
    ("Class mean", "mean over classes of the mean IoU of their objects"),
    (
        "Threshold",
        "from which probability a pixel is foreground; three values: small, medium, large boxes; none where"
        " a refinement decides",
    ),
)
_FIGURES = ("mask_iou", "small", "medium", "large", "half", "class_mean")


def load_set(layout: Layout, name: str, made: params.PseudoLabels, of_row: params.Labeling) -> PseudoLabelSet:
    """One set: what `pipeline.evaluation.pseudo_labels` measured, and what params.yaml says of it.

    of_row: how the labeler's row of the comparison gives masks to the boxes of val.
    Raises UserError for a missing file, KeyError or TypeError for one with another layout.
    """
    measured = read_json(layout.label_metrics(name))
    return PseudoLabelSet(
        name=name,
        labeler=made.labeler,
        seed=made.seed,
        boxes=made.labels,
        objects=measured["objects"],
        missing=len(measured["missing"]),
        empty=len(measured["empty"]),
        compared=measured["compared"],
        figures=_figures(measured) if "mask_iou" in measured else {},
        intervals={key: Interval.of(limits) for key, limits in measured.get("interval", {}).items()},
        not_computed=tuple(measured["not_computed"]),
        labeling=made.labeling.model_dump(),
        unlike_row=_unlike(made.labeling, of_row),
    )


def _unlike(first: params.Labeling, second: params.Labeling) -> tuple[str, ...]:
    """The keys by which two labelings give other masks, of those that decide in both."""
    one, other = first.decisive(), second.decisive()
    return tuple(key for key, value in one.items() if key in other and other[key] != value)


def _figures(measured: dict[str, Any]) -> dict[str, float | None]:
    ious = measured["mask_iou"]
    sizes = {size: ious[size] for size in ("small", "medium", "large")}
    return {"mask_iou": ious["mean"], **sizes, "half": measured["half"], "class_mean": measured["class_mean"]}


def set_lines(data: ReportData) -> list[tuple[PseudoLabelSet, list[Cell]]]:
    """Each set with its cells, in the order of HEADINGS."""
    return [(made, _cells(made)) for made in data.pseudo_labels]


def _cells(made: PseudoLabelSet) -> list[Cell]:
    lacking = made.missing + made.empty
    parts = f"{made.missing:,} left out, {made.empty:,} empty" if lacking else ""
    figures = [
        Cell(number(made.figures.get(name)), span(made.intervals.get(name)), made.figures.get(name))
        for name in _FIGURES
    ]
    return [
        Cell(f"{made.objects:,}", value=made.objects),
        Cell(f"{lacking:,}", parts, lacking),
        *figures,
        Cell(_thresholds(made)),
    ]


def _thresholds(made: PseudoLabelSet) -> str:
    if made.labeling["refine"] != "none":
        return "–"
    values = made.labeling["thresholds"]
    return " / ".join(f"{value:g}" for value in (values if len(set(values)) > 1 else values[:1]))


def origin(data: ReportData, made: PseudoLabelSet) -> str:
    """Who made the set from what, for people: "MAL, seed 0, on boxes; flipped crops too"."""
    labeling = made.labeling
    extras = [
        *(["flipped crops too"] if labeling["flip"] else []),
        *([f"network: {labeling['network']}"] if labeling["network"] != "student" else []),
        *([f"refined by {labeling['refine'].replace('_', ' ')}"] if labeling["refine"] != "none" else []),
    ]
    return "; ".join([f"{data.row(made.labeler).title}, seed {made.seed}, on {made.boxes}", *extras])


def set_notes(data: ReportData) -> list[str]:
    """What could not be measured and why, one line each."""
    unknown = [made.name for made in data.pseudo_labels if not made.compared]
    notes = []
    where = ": the report's page shows them on training images" if data.training_scenes else ""
    if unknown:
        notes.append(
            f"{_names(unknown)}: mean IoU, IoU by size, the share from 0.5 on and the class mean compare with"
            " ground-truth masks of the training images, of which there are none. These figures are not"
            f" computed; judge the masks by eye{where}."
        )
    known = (made for made in data.pseudo_labels if made.compared)
    return notes + [f"{made.name}: {line}." for made in known for line in made.not_computed]


def _names(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
