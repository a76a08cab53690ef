"""How figures are drawn and written: one set of settings, as PNG and as inline SVG.

Everything is drawn on plain `Figure` objects inside `settings()`: no pyplot, no global state, the same
bytes for the same numbers.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline.report.palette import GRID, INK, MUTED, SURFACE, css_variables

TITLE_LENGTH = 44

_SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.facecolor": SURFACE,
    "figure.facecolor": SURFACE,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "svg.fonttype": "none",
    "figure.dpi": 150,
}


@contextmanager
def settings() -> Iterator[None]:
    """The figures' settings, for the block only and whatever the user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def png(figure: Figure) -> bytes:
    """The figure as a PNG without a date or a version in it."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def svg(figure: Figure, name: str) -> str:
    """The figure as an inline SVG element whose colours are the page's CSS variables.

    name: unique in the page; it goes into the ids that matplotlib makes, which would collide otherwise.
    """
    buffer = io.StringIO()
    matplotlib.rcParams["svg.hashsalt"] = name  # restored by settings()
    figure.savefig(
        buffer,
        format="svg",
        transparent=True,
        metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
    )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'id="(\w+\.?\w*_\d+)"', rf'id="{name}-\1"', text)  # such as "axes_1", the same in all
    for value, variable in css_variables().items():
        text = text.replace(value, f"var({variable})")
    return re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="presentation">', text, count=1
    )


def shorten(text: str, length: int = TITLE_LENGTH) -> str:
    """`text` cut to `length` characters, by default to what fits above a bar."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
