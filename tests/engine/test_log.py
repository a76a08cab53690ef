from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo

from pipeline.engine.log import History, LiveLog

ROWS = [{"step": 10, "loss": 2.5, "learning_rate": 0.1}, {"step": 20, "loss": 1.25, "learning_rate": 0.1}]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_history_goes_on_from_its_state() -> None:
    whole, first, second = History(), History(), History()
    for values in ({"loss": 1.0}, {"loss": 2.0, "a": 5.0}, {"loss": 6.0, "a": float("nan")}):
        whole.add(values)
    first.add({"loss": 1.0})
    second.restore(first.state())
    second.add({"loss": 2.0, "a": 5.0})
    second.add({"loss": 6.0})
    assert whole.close_row(3, 0.5) == second.close_row(3, 0.5)
    assert whole.rows == [{"step": 3, "loss": 3.0, "a": 5.0, "learning_rate": 0.5}]
    whole.add({"loss": 7.0})
    assert whole.close_row(4, 0.5) == {"step": 4, "loss": 7.0, "learning_rate": 0.5}


def test_dvclive_has_every_row_once(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Repo.init(no_scm=True).close()
    live = LiveLog(workplace / "live", [])
    live.add(ROWS[0])
    live.add({"step": 20, "loss": 99.0})  # is lost with the process, and done again below
    live = LiveLog(workplace / "live", ROWS[:1])
    live.add(ROWS[1])
    live.close()
    table = (workplace / "live/plots/metrics/loss.tsv").read_text()
    assert table.split() == ["step", "loss", "10", "2.5", "20", "1.25"]
    assert not (workplace / "dvc.yaml").exists()
    assert capsys.readouterr().err == ""


def test_no_dvc_repository_is_made(workplace: Path) -> None:
    subprocess.run(["git", "init", "-q"], check=True)
    live = LiveLog(workplace / "live", ROWS)
    live.close()
    assert [path.name for path in workplace.iterdir()] == [".git"]


def test_dvclive_fails_in_one_line(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subprocess.run(["git", "init", "-q"], check=True)
    Repo.init().close()
    before = sorted(path.name for path in workplace.iterdir())
    live = LiveLog(workplace / "live", ROWS)  # dvclive refuses a repository without a commit
    live.add(ROWS[0])
    live.close()
    assert capsys.readouterr().err.startswith("warning: dvclive is off: ")
    assert sorted(path.name for path in workplace.iterdir()) == before
