"""The result in words, computed from the figures: the summary, and what to know before comparing."""

from __future__ import annotations

from pipeline.report.data import HEADLINES, Difference, Interval, ReportData, Row

OTHERS = 5  # rows or differences that a sentence names at most, beside the one that it is about


def number(value: float | None, digits: int = 1) -> str:
    """`value` for people: a true minus sign, "–" for None."""
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    return (text.lstrip("-") if float(text) == 0 else text).replace("-", "−")


def signed(points: float) -> str:
    """A difference for people, with its sign: "+3.2", "−3.2", "0.0"."""
    text = number(points)
    return f"+{text}" if float(text.replace("−", "-")) > 0 else text


def span(interval: Interval | None, digits: int = 1) -> str:
    """An interval as "42.0 to 50.1" ("" for None); "to" because a dash reads as a minus before numbers."""
    return f"{number(interval.low, digits)} to {number(interval.high, digits)}" if interval else ""


def unit(headline: str) -> str:
    """What a headline figure is called beside a number, where it need not be told from its like."""
    return "AP" if headline == "AP" else HEADLINES[headline]


def percentage(fraction: float) -> str:
    """A share of the images for people: "4 %", "0.4 %", "4.84 %"."""
    return f"{100 * fraction:.3g} %"


def annotated(row: Row) -> str:
    """What a row is trained on, in a sentence: "boxes", "masks of 4 % of the images and images
    without labels"."""
    share = f" of {percentage(row.labelled_fraction or 0)} of the images" if row.is_partial else ""
    unlabelled = " and images without labels" if row.unlabelled_images else ""
    return f"{row.supervision}{share}{unlabelled}"


def quoted(row: Row) -> str:
    """A row's title in quotation marks, since it may be several words with commas."""
    return f"“{row.title}”"


def leading_row(data: ReportData) -> Row | None:
    """The weakly supervised run with the best headline figure; else the best run; None without any."""
    runs = [row for row in data.headline_rows if row.kind == "run" and row.score is not None]
    weak = [row for row in runs if not row.is_oracle and row.is_weak]
    return max(weak or runs, key=lambda row: row.score or 0.0, default=None)


def summary(data: ReportData) -> str:
    """One paragraph: what the best weakly supervised run reaches, and how the others stand to it.

    "" without any row.
    """
    best = leading_row(data)
    if not data.rows:
        return ""
    if best is None:
        nothing = f"No {data.headline} could be computed. Learning curves and predictions are below."
        return " ".join([nothing, *_labelers(data)])
    sentences = [_headline(data, best)]
    others = [
        row
        for row in data.headline_rows
        if row.name not in (best.name, best.oracle) and row.score is not None
    ]
    if others:
        sentences.append(f"In comparison: {'; '.join(_beside(data, best, row) for row in others[:OTHERS])}.")
    if len(others) > OTHERS:
        sentences.append(f"{len(others) - OTHERS} more in the table.")
    return " ".join([*sentences, *_labelers(data)])


def _labelers(data: ReportData) -> list[str]:
    """A sentence on the rows that give masks to given boxes, beside others that set the headline."""
    reached = [
        f"{quoted(row)}, {number(row.score)} mask IoU{_inside(row)}"
        for row in data.labelers
        if row.score is not None
    ]
    return [f"Given the ground-truth boxes: {'; '.join(reached)}."] if reached else []


def _inside(row: Row) -> str:
    return f" (95 % interval {span(row.interval)})" if row.interval else ""


def _headline(data: ReportData, best: Row) -> str:
    if best.retention is None or best.is_oracle:
        known = best.is_oracle or not best.detects  # masks in given boxes have no oracle
        lacks = "" if known else "; what share of an oracle's that is, is not known"
        reached = f"{number(best.score)} {data.headline}{_inside(best)}{lacks}"
        return f"{quoted(best)}, trained on {annotated(best)}{_through(data, best)}, reaches {reached}."
    oracle = data.row(best.oracle)
    inside = f"; 95 % interval {span(best.retention_interval, 0)} %" if best.retention_interval else ""
    alone = "" if best.is_partial else " alone"
    return (
        f"{quoted(best)}, trained on {annotated(best)}{alone}{_through(data, best)}, reaches"
        f" {number(best.retention, 0)} % of"
        f" its oracle {quoted(oracle)}, trained on {annotated(oracle)}"
        f" ({number(best.score)} of {number(oracle.score)} {data.headline}{inside})."
    )


def _through(data: ReportData, row: Row) -> str:
    return f", through the masks of {quoted(data.row(row.through))}" if row.through else ""


def _beside(data: ReportData, best: Row, row: Row) -> str:
    """How `row` stands to the leading row: "X, 30.1 AP (16.0 below Y)"."""
    gap = (row.score or 0.0) - (best.score or 0.0)
    side = (
        f"{number(abs(gap))} {'above' if gap > 0 else 'below'} {quoted(best)}"
        if gap
        else f"level with {quoted(best)}"
    )
    noise = ", within the noise" if _noise(data, row.name, best.name) else ""
    name = "AP" if row.detects else "mask IoU"
    return f"{quoted(row)}, {number(row.score)} {name} ({side}{noise})"


def _noise(data: ReportData, first: str, second: str) -> bool:
    return any(
        {item.first, item.second} == {first, second} and item.within_noise
        for item in data.headline_differences
    )


def warnings(data: ReportData) -> list[str]:
    """What a reader must know before comparing rows, most important first; one plain line each."""
    return [
        *_missing(data),
        *_labelled_otherwise(data),
        *_noisy(data),
        *_seeds(data),
        *_stand_ins(data),
        *(f"Data: {line}" for line in data.summary.warnings),
    ]


def _labelled_otherwise(data: ReportData) -> list[str]:
    """Sets of pseudo-labels that their labeler made in another way than the masks of its row."""
    return [
        f"{quoted(data.row(made.labeler))} made the masks of {made.name} in another way than those of its"
        f" row: pseudo_labels.{made.name}.labeling and predict.labeling differ in"
        f" {_and(list(made.unlike_row))}. The row's mask IoU on val does not speak for these training masks."
        for made in data.pseudo_labels
        if made.unlike_row
    ]


def _noisy(data: ReportData) -> list[str]:
    """The differences within the noise: of the headline, and of mask IoU to the rows that have it alone."""
    alone = {row.name for row in data.labelers}
    to_labelers = [item for item in data.mask_iou_differences if {item.first, item.second} & alone]
    groups = [(data.headline, data.headline_differences), ("mask IoU", to_labelers)]
    return [
        f"These differences of {figure} lie within the noise of the validation images, so do not rank"
        f" the rows by them: {'; '.join(_pair(data, item) for item in noisy[:OTHERS])}"
        f"{f'; and {len(noisy) - OTHERS} more, see the differences' if len(noisy) > OTHERS else ''}."
        for figure, items in groups
        if (noisy := [item for item in items if item.within_noise])
    ]


def _pair(data: ReportData, item: Difference) -> str:
    return (
        f"{quoted(data.row(item.first))} and {quoted(data.row(item.second))}"
        f" ({number(item.difference)} points, 95 % interval {span(item.interval)})"
    )


def _seeds(data: ReportData) -> list[str]:
    trained = [row for row in data.rows if row.kind == "run"]
    figure = "mask IoU" if data.headline_metric == "mask_iou" else "AP"
    single = [quoted(row) for row in trained if len(row.seeds) == 1]
    if not single:
        return []
    which = (
        "Every run was"
        if len(single) == len(trained)
        else f"{_and(single)} {'were' if len(single) > 1 else 'was'}"
    )
    return [
        f"{which} trained with one seed. The intervals cover the choice of validation images, not the luck of"
        f" a seed: in short trainings another seed can move {figure} by several points."
    ]


def _stand_ins(data: ReportData) -> list[str]:
    if not data.stand_ins:
        return []
    titles = [quoted(data.row(name)) for name in data.stand_ins]
    return [
        f"The backbone of {_and(titles)} starts from a short classification of generated single objects. This"
        " stands in for downloaded weights and uses class labels of extra images, the same for these runs."
    ]


def _missing(data: ReportData) -> list[str]:
    """Figures that could not be computed, rows with the same reason in one line."""
    reasons: dict[str, list[str]] = {}
    for row in data.rows:
        for reason in row.not_computed:
            reasons.setdefault(reason, []).append(quoted(row))
    return [
        f"Not computed: {reason}"
        if len(titles) == len(data.rows)
        else f"Not computed for {_and(titles)}: {reason}"
        for reason, titles in reasons.items()
    ]


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
