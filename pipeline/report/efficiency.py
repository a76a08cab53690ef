"""Label efficiency: how the headline figure grows with the share of the training images that have labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.report.comparison import Cell, headline_difference
from pipeline.report.data import Difference, ReportData, Row
from pipeline.report.words import number, percentage, quoted, signed, span

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
        return [100 * (row.labelled_fraction or 0) for row in self.rows]


def all_series(data: ReportData) -> list[Series]:
    """The series in the order of the comparison; none unless one of them has two different shares.

    Rows belong to one series if method, model, start, the rule of their split and all settings but the
    length of training are the same.  It ends with a row of that method and model on all images, if there is
    one: their oracle, or one with their settings.
    """
    kinds: dict[str, list[Row]] = {}
    for row in _trained(data):
        if row.is_partial:
            kinds.setdefault(_kind(row), []).append(row)
    groups = [group for rows in kinds.values() for group in _told_apart(rows)]
    titles = _titles(groups)
    found = [
        Series(title, slot, (*sorted(group, key=_share), *_whole(data, group)))
        for slot, (title, group) in enumerate(zip(titles, groups, strict=True))
    ]
    return found if any(len(set(item.shares)) > 1 for item in found) else []


def _trained(data: ReportData) -> list[Row]:
    return [row for row in data.headline_rows if row.kind == "run" and row.score is not None]


def _share(row: Row) -> float:
    return row.labelled_fraction or 0.0


def _kind(row: Row) -> str:
    """What the partly labelled rows of one series have in common."""
    split = row.settings.get("split", {})
    rule = {key: value for key, value in split.items() if key not in ("percent", "path")}
    return repr((row.method, row.model, row.settings["run"].get("backbone"), _settings(row), rule))


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
        for row in _trained(data)
        if (row.method, row.model, row.supervision) == (first.method, first.model, first.supervision)
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
    return " ".join(common).rstrip(MARKS) or f"{group[0].method}, {group[0].model}"


def references(data: ReportData, found: Sequence[Series]) -> list[Row]:
    """The oracles of the series that do not end with a row on all images."""
    names = {row.oracle for item in found if item.rows[-1].is_partial for row in item.rows}
    return [row for row in _trained(data) if row.name in names]


def supervised_twin(data: ReportData, row: Row) -> Row | None:
    """The row that trains the same model on the same labels and on nothing else; None for such a row."""
    if row.method == "supervised":
        return None
    return next(
        (
            other
            for other in _trained(data)
            if (other.method, other.labels, other.model) == ("supervised", row.labels, row.model)
        ),
        None,
    )


def headings(data: ReportData) -> list[tuple[str, str]]:
    """What the columns are called, and what they mean."""
    figure = data.headline
    return [
        ("Images", "the share of the training images that have labels; below it how many those are"),
        ("Labels", "masks that people drew on them"),
        (figure, "below it the 95 % bootstrap interval over validation images"),
        (
            "Against supervised",
            f"points of {figure} above the row that trains the same model on the same labels alone; below it"
            " the paired 95 % interval",
        ),
        (
            "Against the oracle",
            f"points of {figure} above the row's oracle; below it the paired 95 % interval",
        ),
    ]


def series_lines(data: ReportData, found: Sequence[Series]) -> list[tuple[Series, Row, list[Cell]]]:
    """Each row of each series with its cells, in the order of `headings`; a row may end two of them."""
    return [(item, row, _cells(data, row)) for item in found for row in item.rows]


def _cells(data: ReportData, row: Row) -> list[Cell]:
    twin = supervised_twin(data, row)
    count = "–" if row.labelled_images is None else f"{row.labelled_images:,}"
    drawn = "–" if row.labelled_objects is None else f"{row.labelled_objects:,}"
    oracle = "" if row.is_oracle else row.oracle
    return [
        Cell(percentage(_share(row)), count, row.labelled_fraction),
        Cell(drawn, value=row.labelled_objects),
        Cell(number(row.score), span(row.interval), row.score),
        _points(headline_difference(data, row.name, twin.name) if twin else None),
        _points(headline_difference(data, row.name, oracle)),
    ]


def _points(item: Difference | None) -> Cell:
    if item is None:
        return Cell("–")
    noise = ", within noise" if item.within_noise else ""
    return Cell(signed(item.difference), f"{span(item.interval)}{noise}", item.difference)


def efficiency_text(data: ReportData, found: Sequence[Series]) -> str:
    """The curve in words: where each series begins and ends, and what images without labels add."""
    sentences = [_course(data, item) for item in found if len(item.rows) > 1]
    rows = [row for item in found for row in item.rows]
    gains = [text for row in rows if (text := _gain(data, row))]
    if gains:
        sentences.append(f"Against the supervised row on the same labels: {'; '.join(gains)}.")
    return " ".join(sentences)


def _course(data: ReportData, item: Series) -> str:
    first, last = item.rows[0], item.rows[-1]
    return (
        f"“{item.title}” goes from {number(first.score)} {data.headline} with labels on"
        f" {percentage(_share(first))} of the images to {number(last.score)} with {percentage(_share(last))}."
    )


def _gain(data: ReportData, row: Row) -> str:
    """How a row stands to its supervised twin, "" if it has none: "“X” +5.2 points (95 % interval …)"."""
    twin = supervised_twin(data, row)
    item = headline_difference(data, row.name, twin.name) if twin else None
    if item is None:
        return ""
    inside = f" (95 % interval {span(item.interval)})" if item.interval else ""
    noise = ", within the noise" if item.within_noise else ""
    return f"{quoted(row)} {signed(item.difference)} points{inside}{noise}"
