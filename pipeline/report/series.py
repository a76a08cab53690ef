"""Rows that make a line of the label-efficiency curve: the same but for the images that have labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.report.data import ReportData, Row

LENGTHS = ("train", "burn_in")  # settings that may follow the number of labelled images within a series
MARKS = ",:;–-("
JOINING = ("at", "from", "in", "of", "on", "with")  # what a title does not end with


@dataclass(frozen=True)
class Series:
    """Rows that differ in how many images have labels, fewest first; slot: its place in the palette."""

    title: str
    slot: int
    rows: tuple[Row, ...]

    @property
    def shares(self) -> list[float]:
        """The labelled share of each row, in percent."""
        return [100 * labelled_share(row) for row in self.rows]

    @property
    def model(self) -> str:
        """The model of all its rows."""
        return self.rows[0].model


def all_series(data: ReportData) -> list[Series]:
    """The series, those of one model together; none unless one of them has two different shares.

    Rows belong to one series if method, model, start, the rule of their split and all settings but the
    length of training are the same.  It ends with a row of that method, model and start on all images, if
    there is one: their oracle, or one with their settings.  Series that differ in model and start alone
    have one slot.
    """
    kinds: dict[str, list[Row]] = {}
    for row in trained(data):
        if row.is_partial:
            kinds.setdefault(repr((_way(row), row.model, start(row))), []).append(row)
    groups = [group for rows in kinds.values() for group in _told_apart(rows)]
    models = list(dict.fromkeys(group[0].model for group in groups))
    groups.sort(key=lambda group: models.index(group[0].model))
    ways = list(dict.fromkeys(_way(group[0]) for group in groups))
    found = [
        Series(title, ways.index(_way(group[0])), (*sorted(group, key=labelled_share), *_whole(data, group)))
        for title, group in zip(_titles(groups), groups, strict=True)
    ]
    return found if any(len(set(item.shares)) > 1 for item in found) else []


def by_model(found: Sequence[Series]) -> dict[str, list[Series]]:
    """Model -> its series."""
    models: dict[str, list[Series]] = {}
    for item in found:
        models.setdefault(item.model, []).append(item)
    return models


def start(row: Row) -> str:
    """The row of `backbones` or `weight_files` that a row starts from; "" if that is not known."""
    return str(row.settings.get("run", {}).get("backbone", ""))


def trained(data: ReportData) -> list[Row]:
    """The trained rows that have a headline figure."""
    return [row for row in data.headline_rows if row.kind == "run" and row.score is not None]


def labelled_share(row: Row) -> float:
    """Of the training images, in [0, 1]."""
    return row.labelled_fraction or 0.0


def _way(row: Row) -> str:
    """How a partly labelled row learns and predicts, whatever the model and the number of its labels."""
    split = row.settings.get("split", {})
    rule = {key: value for key, value in split.items() if key not in ("percent", "path")}
    return repr((row.method, row.network, _settings(row), rule))


def _settings(row: Row) -> dict[str, Any]:
    return {key: value for key, value in row.settings.get("method", {}).items() if key not in LENGTHS}


def _told_apart(rows: list[Row]) -> Iterable[list[Row]]:
    """The rows as one group, or one per name of their settings if they have a share twice."""
    if len({row.labelled_fraction for row in rows}) == len(rows):
        return [rows]
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(row.settings["run"].get("settings")), []).append(row)
    return groups.values()


def _whole(data: ReportData, group: Sequence[Row]) -> list[Row]:
    """The row on all images that ends a series, or none."""
    first, oracles = group[0], {row.oracle for row in group}
    same = [
        row
        for row in trained(data)
        if (row.method, row.model, row.supervision) == (first.method, first.model, first.supervision)
        and start(row) == start(first)
        and not (row.is_partial or row.through)
    ]
    ends = [row for row in same if row.name in oracles]
    return (ends or [row for row in same if _settings(row) == _settings(first)])[:1]


def _titles(groups: Sequence[Sequence[Row]]) -> list[str]:
    """A name for each group: what the titles of its rows begin with; with the settings if two are equal."""
    titles = [_title(group) for group in groups]
    return [
        f"{title} ({group[0].settings['run'].get('settings', group[0].name)})"
        if titles.count(title) > 1
        else title
        for title, group in zip(titles, groups, strict=True)
    ]


def _title(group: Sequence[Row]) -> str:
    if len(group) == 1:
        return group[0].title
    common: list[str] = []
    for words in zip(*(row.title.split() for row in group), strict=False):
        if len(set(words)) > 1:
            break
        common.append(words[0])
    while common and (not common[-1].strip(MARKS) or common[-1].lower() in JOINING):
        common.pop()
    title = " ".join(common).rstrip(MARKS) or f"{group[0].method}, {group[0].model}"
    return f"{title}, its teacher" if group[0].network == "teacher" else title


def references(data: ReportData, found: Sequence[Series]) -> list[Row]:
    """The oracles of the series that do not end with a row on all images."""
    names = {row.oracle for item in found if item.rows[-1].is_partial for row in item.rows}
    return [row for row in trained(data) if row.name in names]
