"""What a finished training leaves for the report: its learning curves, and what it cost."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from pipeline.engine.log import Row
from pipeline.engine.loop import FitResult
from pipeline.files import replacing


def write_curves(path: Path, histories: dict[int, list[Row]]) -> None:
    """Write seed -> history as CSV: seed, step, loss, then everything else that was logged, by name."""
    names = {name for rows in histories.values() for row in rows for name in row}
    columns = ["seed", "step", "loss", *sorted(names - {"step", "loss"})]
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        for seed, rows in histories.items():
            writer.writerows({"seed": seed, **{name: f"{value:.6g}" for name, value in row.items()}} for row in rows)


def training_cost(run: str, seed: int, result: FitResult) -> dict[str, Any]:
    """A row of cost.csv: seconds over all sessions of the training, images/s, peak memory in MiB."""
    return {
        "run": run,
        "stage": f"train seed {seed}",
        "device": result.device,
        "threads": result.threads,
        "seconds": round(result.seconds, 1),
        "images_per_second": round(result.images_per_second, 2),
        "peak_memory_mib": result.peak_memory_mib,
    }
