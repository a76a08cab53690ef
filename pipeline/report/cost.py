"""cost.csv: what a clock or a machine decides.  No stage depends on it, and the report only links to it."""

from __future__ import annotations

import csv
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Protocol

from pipeline.csv_text import csv_text, fixed
from pipeline.files import write_text


class Measured(Protocol):
    """What a training knows of its own cost."""

    @property
    def seconds(self) -> float: ...
    @property
    def images_per_second(self) -> float: ...
    @property
    def peak_memory_mib(self) -> int: ...
    @property
    def device(self) -> str: ...
    @property
    def threads(self) -> int: ...


@dataclass(frozen=True)
class Cost:
    """One row of cost.csv.  A stage that runs once per seed has the seed in `stage`: "train seed 0"."""

    run: str
    stage: str
    device: str
    threads: int
    seconds: float
    images_per_second: float | None
    peak_memory_mib: int | None

    @classmethod
    def of_training(cls, run: str, seed: int, result: Measured) -> Cost:
        """The cost of training one seed of `run`."""
        return cls(
            run,
            f"train seed {seed}",
            result.device,
            result.threads,
            result.seconds,
            result.images_per_second,
            result.peak_memory_mib,
        )


COLUMNS = tuple(field.name for field in fields(Cost))


def write_cost(path: Path, *costs: Cost) -> None:
    """Merge `costs` into cost.csv at `path`: a row replaces the one of its run and stage.

    Sorted by run and stage.  Stages that run side by side may call this at the same time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path.parent):
        table = {(row["run"], row["stage"]): row for row in read_cost(path)}
        for cost in costs:
            table[cost.run, cost.stage] = {name: _text(value) for name, value in asdict(cost).items()}
        write_text(path, csv_text(COLUMNS, [table[key] for key in sorted(table)]))


def read_cost(path: Path) -> list[dict[str, str]]:
    """The rows of cost.csv as text, or none when there is no such file yet."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: row.get(name) or "" for name in COLUMNS} for row in csv.DictReader(file)]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a lock on the folder itself, so that no lock file is left lying about."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _text(value: object) -> str:
    if value is None:
        return ""
    return fixed(value, 2) if isinstance(value, float) else str(value)
