"""The result in words, computed from the figures: the summary, and what to know before comparing."""

from __future__ import annotations

from pipeline.report.data import Difference, Interval, ReportData, Row


OTHERS = 5  # rows that the summary sets beside the leading one


def number(value: float | None, digits: int = 1) -> str:
    """`value` for people: a true minus sign, "–" for None."""
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    return (text.lstrip("-") if float(text) == 0 else text).replace("-", "−")


def span(interval: Interval | None, digits: int = 1) -> str:
    """An interval as "42.0 to 50.1" ("" for None); "to" because a dash reads as a minus before numbers."""
    return f"{number(interval.low, digits)} to {number(interval.high, digits)}" if interval else ""


def quoted(row: Row) -> str:
    """A row's title in quotation marks, since it may be several words with commas."""
    return f"“{row.title}”"


def leading_row(data: ReportData) -> Row | None:
    """The weakly supervised run with the best headline figure; else the best run; None without any."""
    runs = [row for row in data.rows if row.kind == "run" and row.score is not None]
    weak = [row for row in runs if not row.is_oracle and row.supervision != "masks"]
    return max(weak or runs, key=lambda row: row.score or 0.0, default=None)


def summary(data: ReportData) -> str:
    """One paragraph: what the best weakly supervised run reaches, and how the others stand to it."""
    best = leading_row(data)
    if best is None:
        return f"No {data.headline} could be computed for this benchmark. Learning curves and predictions are below."
    sentences = [_headline(data, best)]
    others = [row for row in data.rows if row.name not in (best.name, best.oracle) and row.score is not None]
    if others:
        sentences.append(f"In comparison: {'; '.join(_beside(data, best, row) for row in others[:OTHERS])}.")
    if len(others) > OTHERS:
        sentences.append(f"{len(others) - OTHERS} more in the table.")
    return " ".join(sentences)


def _headline(data: ReportData, best: Row) -> str:
    if best.retention is None or best.is_oracle:
        inside = f" (95 % interval {span(best.interval)})" if best.interval else ""
        lacks = "" if best.is_oracle else "; what share of an oracle's that is, is not known"
        return f"{quoted(best)}, trained on {best.supervision}, reaches {number(best.score)} {data.headline}{inside}{lacks}."
    oracle = data.row(best.oracle)
    inside = f"; 95 % interval {span(best.retention_interval, 0)} %" if best.retention_interval else ""
    return (f"{quoted(best)}, trained on {best.supervision} alone, reaches {number(best.retention, 0)} % of its oracle"
            f" {quoted(oracle)}, trained on {oracle.supervision} ({number(best.score)} of {number(oracle.score)}"
            f" {data.headline}{inside}).")


def _beside(data: ReportData, best: Row, row: Row) -> str:
    """How `row` stands to the leading row: "X, 30.1 AP (16.0 below Y)"."""
    gap = (row.score or 0.0) - (best.score or 0.0)
    side = f"{number(abs(gap))} {'above' if gap > 0 else 'below'} {quoted(best)}" if gap else f"level with {quoted(best)}"
    noise = ", within the noise" if _noise(data, row.name, best.name) else ""
    return f"{quoted(row)}, {number(row.score)} AP ({side}{noise})"


def _noise(data: ReportData, first: str, second: str) -> bool:
    pair = {first, second}
    return any({item.first, item.second} == pair and bool(item.within_noise) for item in data.differences)


def warnings(data: ReportData) -> list[str]:
    """What a reader must know before comparing rows, most important first; one plain line each."""
    return [*_missing(data), *_noisy(data), *_seeds(data), *_stand_ins(data),
            *(f"Data: {line}" for line in data.summary.warnings)]


def _noisy(data: ReportData) -> list[str]:
    noisy = [item for item in data.differences if item.within_noise]
    if not noisy:
        return []
    pairs = "; ".join(_pair(data, item) for item in noisy)
    return [f"These differences of {data.headline} lie within the noise of the validation images, so do not rank"
            f" the rows by them: {pairs}."]


def _pair(data: ReportData, item: Difference) -> str:
    return (f"{quoted(data.row(item.first))} and {quoted(data.row(item.second))}"
            f" ({number(item.difference)} points, 95 % interval {span(item.interval)})")


def _seeds(data: ReportData) -> list[str]:
    trained = [row for row in data.rows if row.kind == "run"]
    single = [quoted(row) for row in trained if len(row.seeds) == 1]
    if not single:
        return []
    which = "Every run was" if len(single) == len(trained) else f"{_and(single)} {'were' if len(single) > 1 else 'was'}"
    return [f"{which} trained with one seed. The intervals cover the choice of validation images, not the luck of"
            " a seed: in short trainings another seed can move AP by several points."]


def _stand_ins(data: ReportData) -> list[str]:
    if not data.stand_ins:
        return []
    titles = [quoted(data.row(name)) for name in data.stand_ins]
    return [f"The backbone of {_and(titles)} starts from a short classification of generated single objects. This"
            " stands in for downloaded weights and uses class labels of extra images, the same for these runs."]


def _missing(data: ReportData) -> list[str]:
    """Figures that could not be computed, rows with the same reason in one line."""
    reasons: dict[str, list[str]] = {}
    for row in data.rows:
        for reason in row.not_computed:
            reasons.setdefault(reason, []).append(quoted(row))
    return [f"Not computed: {reason}" if len(titles) == len(data.rows) else f"Not computed for {_and(titles)}: {reason}"
            for reason, titles in reasons.items()]


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
