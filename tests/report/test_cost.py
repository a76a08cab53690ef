"""cost.csv: merging by run and stage."""

from __future__ import annotations

import threading
from pathlib import Path

from pipeline.report.cost import COLUMNS, Cost, read_cost, write_cost


def cost(run: str, stage: str, seconds: float) -> Cost:
    return Cost(run, stage, "cpu", 1, seconds, 81.256, None)


def test_columns_and_formats(tmp_path: Path) -> None:
    write_cost(tmp_path / "cost.csv", cost("boxinst", "train seed 0", 102.5))
    assert (tmp_path / "cost.csv").read_text(encoding="utf-8").splitlines() == [
        "run,stage,device,threads,seconds,images_per_second,peak_memory_mib",
        "boxinst,train seed 0,cpu,1,102.50,81.26,",
    ]
    assert len(COLUMNS) == 7


def test_a_row_replaces_the_one_of_its_run_and_stage(tmp_path: Path) -> None:
    path = tmp_path / "cost.csv"
    write_cost(path, cost("oracle", "train seed 0", 1.0), cost("boxinst", "train seed 1", 2.0))
    write_cost(path, cost("boxinst", "train seed 0", 3.0), cost("oracle", "train seed 0", 4.0))
    assert [(row["run"], row["stage"], row["seconds"]) for row in read_cost(path)] == [
        ("boxinst", "train seed 0", "3.00"),
        ("boxinst", "train seed 1", "2.00"),
        ("oracle", "train seed 0", "4.00"),
    ]


def test_stages_side_by_side_lose_no_row(tmp_path: Path) -> None:
    path = tmp_path / "cost.csv"
    writers = [
        threading.Thread(target=write_cost, args=(path, cost(f"run{index}", "train seed 0", 1.0)))
        for index in range(12)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(read_cost(path)) == 12
    assert [entry.name for entry in tmp_path.iterdir()] == ["cost.csv"]
