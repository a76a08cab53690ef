"""Two processes train one student with one teacher each, which stay the same, and keep what both saw."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.box_teacher_settings import STEPS
from tests.train_apart import TWO_PROCESSES, train_apart

SCRIPT = Path(__file__).with_name("box_teacher_processes.py")


@pytest.mark.slow
def test_two_processes_train_one_student_and_one_teacher(root: Path, tmp_path: Path) -> None:
    train_apart(root, SCRIPT, tmp_path, *TWO_PROCESSES)
    written = json.loads((tmp_path / "written.json").read_text())
    first, second = written["sums"]
    assert first == second
    student, teacher = first
    assert student != teacher
    assert [row["step"] for row in written["history"]] == list(range(1, STEPS + 1))
    assert all(row["accepted_share"] > 0 for row in written["history"])
    kept = written["records"]["pseudo_masks.json"]
    assert [row["step"] for row in kept] == [step for step in range(STEPS) for _ in range(4)]
    draws = [row["key"][1] for row in kept]
    assert len(set(draws)) == len(draws)
