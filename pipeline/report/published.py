"""Figures that papers and their repositories state, to stand beside the measured ones.

Facts only, with their source, in published.csv; percent throughout.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files

from pipeline.report.data import ReportData, Row
from pipeline.report.words import percentage

# What a row of ours is called in published.csv, by the kind of its method: of a supervised one on people's
# masks of all images by its network, of one on pseudo-labels by the method that made them.
METHODS = {
    "boxinst": "BoxInst",
    "box_teacher": "BoxTeacher",
    "mal": "MAL",
    "guided_distillation": "Guided Distillation",
}
NETWORKS = {"condinst": "CondInst", "mask_rcnn": "Mask R-CNN", "mask2former": "Mask2Former"}


@dataclass(frozen=True)
class Published:
    """One published figure: `value` and `retention` in percent, None where the source states none."""

    paper: str
    method: str
    backbone: str
    dataset: str
    split: str
    supervision: str
    metric: str
    value: float | None
    retention: float | None
    source: str

    @property
    def schedule(self) -> str:
        """ "1x" or "3x" where the method's name says so, else ""."""
        return next((word for word in self.method.split() if word in ("1x", "3x")), "")

    @property
    def labels(self) -> str:
        """What it is trained on, in the words of the report: "masks", "boxes", "masks, 0.4 %"."""
        kind, _, share = self.supervision.partition("-")
        if kind not in ("mask", "box"):
            return self.supervision
        plural = "masks" if kind == "mask" else "boxes"
        return f"{plural}, {share.replace('%', ' %')}" if share else plural


@dataclass(frozen=True)
class Compared:
    """The rows of the comparison that use a published method, and the mask AP published for it."""

    method: str
    measured: tuple[Row, ...]
    published: tuple[Published, ...]
    differs: tuple[str, ...]


def read_published() -> list[Published]:
    """All of published.csv, in its order."""
    text = files("pipeline.report").joinpath("published.csv").read_text(encoding="utf-8")
    return [_published(record) for record in csv.DictReader(text.splitlines())]


def _published(record: dict[str, str]) -> Published:
    return Published(
        record["paper"],
        record["method"],
        record["instseg_backbone"],
        record["dataset"],
        record["split"],
        record["supervision"],
        record["metric"],
        _number(record["value"]),
        _number(record["retention"]),
        record["source"],
    )


def _number(text: str) -> float | None:
    return float(text) if text else None


def compare(data: ReportData) -> list[Compared]:
    """For each published method that has a trained row: ours, theirs, and what differs between the two."""
    facts = [fact for fact in read_published() if fact.metric == "mask_AP" and fact.value is not None]
    compared = []
    for name in (*NETWORKS.values(), *METHODS.values()):
        rows = tuple(
            row for row in data.rows if row.kind == "run" and row.detects and called(data, row) == name
        )
        theirs = [fact for fact in facts if f"{fact.method} ".startswith(f"{name} ")]
        if rows and theirs:
            theirs.sort(key=lambda fact: (fact.dataset, fact.split != "val2017", fact.backbone, fact.method))
            differs = (*what_differs(data, rows), *_other_rules(theirs))
            compared.append(Compared(name, rows, tuple(theirs), differs))
    return compared


def called(data: ReportData, row: Row) -> str:
    """What a run's method is called in published.csv, "" if it is not in there."""
    method = data.row(row.through).method if row.through else row.method
    if method == "supervised":
        if row.is_partial:
            return ""
        return NETWORKS.get(row.settings.get("model", {}).get("architecture", ""), "")
    return METHODS.get(method, "")


def what_differs(data: ReportData, rows: tuple[Row, ...]) -> tuple[str, ...]:
    """Where `rows` depart from the published setting, one phrase per aspect, from their own parameters."""
    images = sorted({row.train_images for row in rows if row.train_images is not None})
    counts = " or ".join(f"{count:,}" for count in images)
    dataset = f"data: {data.benchmark}" + (f", {counts} training images" if counts else "")
    backbones = sorted({str(row.settings.get("model", {}).get("backbone", row.model)) for row in rows})
    phrases = [dataset, f"backbone: {', '.join(backbones)}"]
    if shares := sorted({row.labelled_fraction or 0 for row in rows if row.is_partial}):
        phrases.append(f"labels: masks of {', '.join(map(percentage, shares))} of the images")
    if schedules := sorted({text for row in rows if (text := _schedule(row))}):
        phrases.append(f"schedule: {', '.join(schedules)}")
    return tuple(phrases)


def _other_rules(published: list[Published]) -> list[str]:
    if all(fact.dataset != "Cityscapes" for fact in published):
        return []
    return ["evaluation: COCO's rules, where figures on Cityscapes are by its own"]


def _schedule(row: Row) -> str:
    train = row.settings.get("method", {}).get("train", {})
    if not {"duration", "steps", "batch_size"} <= set(train):
        return ""
    batches = "of" if train["duration"] == "steps" else "in batches of"
    return f"{train['steps']:,} {train['duration']} {batches} {train['batch_size']} images"
