"""The learning curve: rows of means, and their copy for dvclive."""

from __future__ import annotations

import math
import shutil
import sys
from pathlib import Path
from typing import Any

Row = dict[str, float]
"""step (number of steps done), loss, each named loss, each metric, learning_rate."""


class History:
    """Means of all values since the last row.  A value that is not finite is not counted."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._sums: dict[str, list[float]] = {}

    def add(self, values: dict[str, float]) -> None:
        """Count the values of one step.  Not every step needs to have every name."""
        for name, value in values.items():
            if math.isfinite(value):
                total = self._sums.setdefault(name, [0.0, 0])
                total[0] += value
                total[1] += 1

    def close_row(self, step: int, learning_rate: float) -> Row:
        """Append and return the row of the steps since the last one."""
        means = {name: total / number for name, (total, number) in self._sums.items()}
        row: Row = {"step": step, **means, "learning_rate": learning_rate}
        self.rows.append(row)
        self._sums.clear()
        return row

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {"rows": self.rows, "sums": self._sums}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.rows, self._sums = state["rows"], state["sums"]


class LiveLog:
    """The same rows in dvclive's files, for `dvc plots` and editors while a training runs.

    It is optional: if dvclive fails, one line says so and training goes on without it.  It is left out
    where there is no DVC repository, since dvclive would make one; it never writes dvc.yaml and never
    makes an experiment.
    """

    def __init__(self, folder: Path, rows: list[Row]) -> None:
        """Start the folder anew from the rows of earlier steps, so that nothing is in it twice."""
        self._live: Any = None
        if not any((parent / ".dvc").is_dir() for parent in (Path.cwd(), *Path.cwd().parents)):
            return
        try:
            from dvclive.live import Live  # slow to import, and not needed by who only predicts

            shutil.rmtree(folder, ignore_errors=True)
            self._live = Live(
                dir=str(folder), dvcyaml=None, save_dvc_exp=False, report=None, monitor_system=False
            )
        except Exception as error:  # an optional copy must not end a training, whatever is wrong with it
            self._give_up(error)
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Write one row of the history."""
        if self._live is None:
            return
        try:
            self._live.step = int(row["step"])
            for name, value in row.items():
                if name != "step":
                    self._live.log_metric(name, value)
            self._live.sync()
        except Exception as error:
            self._give_up(error)

    def close(self) -> None:
        """Tell dvclive that the training is over."""
        if self._live is not None:
            try:
                self._live.end()
            except Exception as error:
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._live = None
        print(f"warning: dvclive is off: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
