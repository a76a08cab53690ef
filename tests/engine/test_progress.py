from __future__ import annotations

import pytest

from pipeline.engine import progress
from pipeline.engine.progress import Progress


def test_a_log_file_gets_few_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Progress("run", 1040, "steps", done=40) as bar:
        for step in range(1000):
            now[0] += 0.125
            bar.advance(f"loss {step}")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "run: 120/1040 steps, 00:10 elapsed, 01:55 left, loss 79"
    assert lines[-1] == "run: 1040/1040 steps, 02:05 elapsed, 00:00 left"
    assert 12 <= len(lines) <= 14


def test_other_processes_print_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("run", 2, "steps", show=False) as bar:
        bar.advance("loss 1")
        bar.advance("loss 1")
    assert capsys.readouterr().err == ""
