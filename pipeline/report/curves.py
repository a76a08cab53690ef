"""reports/<benchmark>/curves/<run>.csv: the learning curves of a run's seeds, below one another."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.csv_text import csv_text
from pipeline.errors import UserError
from pipeline.files import write_text
from pipeline.report.data import Curve

FIRST = ("seed", "step", "loss")


def write_curve(path: Path, history: Mapping[int, Sequence[Mapping[str, float]]]) -> None:
    """Write seed -> logged rows {"step", "loss", ...}, with the columns seed, step, loss, others by name."""
    names = sorted({name for rows in history.values() for row in rows for name in row}.difference(FIRST))
    lines = [
        {"seed": str(seed)} | {name: _text(name, value) for name, value in row.items()}
        for seed, rows in sorted(history.items())
        for row in rows
    ]
    write_text(path, csv_text((*FIRST, *names), lines))


def _text(name: str, value: float) -> str:
    """Seven digits: all that float32 knows.  Empty for a value that is not defined."""
    if name == "step":
        return str(int(value))
    return f"{value:.7g}" if math.isfinite(value) else ""


def read_curve(path: Path) -> tuple[Curve, ...]:
    """What `write_curve` wrote, a curve per seed; NaN where a value is empty.

    Raises UserError when the file is missing or is something else.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        seeds = sorted({int(row["seed"]) for row in rows})
        return tuple(_curve(seed, [row for row in rows if int(row["seed"]) == seed]) for seed in seeds)
    except FileNotFoundError:
        raise UserError(path, "", "file not found", "run `dvc repro` to make it") from None
    except (KeyError, TypeError, ValueError) as error:
        problem = f"is not a learning curve ({error})"
        raise UserError(path, "", problem, "delete it and run `dvc repro`") from None


def _curve(seed: int, rows: list[dict[str, str]]) -> Curve:
    names = [name for name in rows[0] if name not in ("seed", "step")]
    values = {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}
    return Curve(seed, np.array([float(row["step"]) for row in rows]), values)
