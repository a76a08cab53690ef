"""report.md: the summary, the tables and the figures as GitHub shows them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

from pipeline.report.comparison import class_table, columns, difference_lines, sees
from pipeline.report.data import ReportData
from pipeline.report.page import environment
from pipeline.report.words import summary, warnings

PICTURES = {"ap.png": "AP of every row, with its interval", "retention.png": "Share of the oracle's AP that each row retains",
            "curves.png": "Learning curves", "gallery.png": "Best, median and worst images"}


def report_md(data: ReportData, pictures: Iterable[str]) -> str:
    """The report as GitHub-flavoured Markdown.  pictures: names of the files in figures/ to show."""
    templates = environment(autoescape=False)
    templates.filters["md"] = escape_md
    return templates.get_template("report.md.j2").render(
        data=data, summary=summary(data), warnings=warnings(data), columns=columns(data), sees=sees,
        differences=difference_lines(data), classes=class_table(data),
        pictures=[(name, PICTURES[name]) for name in PICTURES if name in set(pictures)])


def escape_md(text: str) -> str:
    """Text that shows as it is: neither HTML nor Markdown nor the end of a table cell."""
    plain = escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", plain)
