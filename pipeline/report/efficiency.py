"""Label efficiency in words and as a table: what each share of the labels gives, against what else."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.report.comparison import Cell, headline_difference
from pipeline.report.data import Difference, ReportData, Row
from pipeline.report.series import Series, labelled_share, start, trained
from pipeline.report.words import OTHERS, number, percentage, quoted, signed, span


def supervised_twin(data: ReportData, row: Row) -> Row | None:
    """The row that trains the same model and start on the same labels alone; None for such a row."""
    if row.method == "supervised":
        return None
    return next(
        (
            other
            for other in trained(data)
            if other.method == "supervised"
            and (other.labels, other.model, start(other)) == (row.labels, row.model, start(row))
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
        Cell(percentage(labelled_share(row)), count, row.labelled_fraction),
        Cell(drawn, value=row.labelled_objects),
        Cell(number(row.score), span(row.interval), row.score),
        _points(data, headline_difference(data, row.name, twin.name) if twin else None),
        _points(data, headline_difference(data, row.name, oracle)),
    ]


def _points(data: ReportData, item: Difference | None) -> Cell:
    if item is None:
        return Cell("–")
    noise = ", within noise" if item.within_noise else ""
    lengths = _lengths(data.row(item.first), data.row(item.second))
    return Cell(signed(item.difference), f"{span(item.interval)}{noise}{lengths}", item.difference)


def _lengths(row: Row, other: Row) -> str:
    """How long the two were trained, "" if it is equally long: ", 1,600 steps against 1,000"."""
    own, others = (item.settings.get("method", {}).get("train", {}) for item in (row, other))
    unit = own.get("duration")
    if not unit or unit != others.get("duration") or own["steps"] == others["steps"]:
        return ""
    return f", {own['steps']:,} {unit} against {others['steps']:,}"


def efficiency_text(data: ReportData, found: Sequence[Series]) -> str:
    """The curve in words: where each series begins and ends, and what images without labels add."""
    sentences = [_course(data, item) for item in found if len(item.rows) > 1]
    rows = [row for item in found for row in item.rows]
    gains = [text for row in rows if (text := _gain(data, row))]
    if gains:
        more = f"; {len(gains) - OTHERS} more in the table" if len(gains) > OTHERS else ""
        sentences.append(f"Against the supervised row on the same labels: {'; '.join(gains[:OTHERS])}{more}.")
    return " ".join(sentences)


def _course(data: ReportData, item: Series) -> str:
    first, last = item.rows[0], item.rows[-1]
    few, most = percentage(labelled_share(first)), percentage(labelled_share(last))
    return (
        f"“{item.title}” goes from {number(first.score)} {data.headline} with labels on"
        f" {few} of the images to {number(last.score)} with {most}."
    )


def _gain(data: ReportData, row: Row) -> str:
    """How a row stands to its supervised twin, "" if it has none: "“X” +5.2 points (95 % interval …)"."""
    twin = supervised_twin(data, row)
    item = headline_difference(data, row.name, twin.name) if twin else None
    if item is None:
        return ""
    inside = f" (95 % interval {span(item.interval)})" if item.interval else ""
    noise = ", within the noise" if item.within_noise else ""
    lengths = _lengths(row, twin) if twin else ""
    return f"{quoted(row)} {signed(item.difference)} points{inside}{noise}{lengths}"
