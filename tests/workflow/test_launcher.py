"""Independent stages run side by side, a failure is told, and nothing is done twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import UserError
from pipeline.params import Params
from pipeline.workflow import launcher

PIPELINE = """
stages:
  a:
    cmd: {python} -c "open('a.txt', 'w').write('a')"
    outs: [a.txt]
  b:
    cmd: {python} wait_for.py b.txt c.txt
    deps: [a.txt, wait_for.py]
    outs: [b.txt]
  c:
    cmd: {python} wait_for.py c.txt b.txt
    deps: [a.txt, wait_for.py]
    outs: [c.txt]
  d:
    cmd: {python} -c "open('d.txt', 'w').write(open('b.txt').read() + open('c.txt').read())"
    deps: [b.txt, c.txt]
    outs: [d.txt]
"""
# Writes its file, then ends only once the other's is there: two of them end only side by side.
WAIT_FOR = """
import pathlib, sys, time
own, other = map(pathlib.Path, sys.argv[1:])
own.write_text(own.stem)
deadline = time.monotonic() + 60
while not other.exists():
    assert time.monotonic() < deadline, "the other stage never ran"
    time.sleep(0.05)
"""


@pytest.fixture
def repository(tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC repository of four trivial stages: a, then b and c, then d."""
    (tmp_path / "dvc.yaml").write_text(PIPELINE.format(python=sys.executable), encoding="utf-8")
    (tmp_path / "wait_for.py").write_text(WAIT_FOR, encoding="utf-8")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=tmp_path, check=True)
    # As in the project: a background check for updates would hold on to the launch's lock.
    config = "[core]\n    analytics = false\n    check_update = false\n"
    (tmp_path / ".dvc" / "config").write_text(config, encoding="utf-8")
    monkeypatch.setattr(launcher, "check_params", lambda root: params)
    monkeypatch.setattr(launcher, "check_supervision", lambda root, dag, params: None)
    monkeypatch.setattr(launcher, "check_networks", lambda params: None)
    monkeypatch.setenv("PYTHONPATH", str(Path(launcher.__file__).parents[2]))
    monkeypatch.setattr(launcher, "count_gpus", lambda: 0)
    return tmp_path


def test_runs_side_by_side_and_then_nothing(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launcher.repro(repository, jobs=2)
    assert (repository / "d.txt").read_text() == "bc"
    printed = capsys.readouterr().out
    assert "d: done in" in printed
    assert printed.strip().endswith(str(Path("reports") / "demo" / "index.html"))
    launcher.repro(repository, jobs=2)
    assert "everything is up to date" in capsys.readouterr().out


def test_a_stage_whose_inputs_come_out_as_they_were_is_not_run(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    launcher.repro(repository, jobs=2)
    capsys.readouterr()
    path = repository / "dvc.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("'a')\"", "'' 'a')\""), encoding="utf-8")  # another command, the same file
    launcher.repro(repository, jobs=2)
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if ": done in" in line and not line.startswith("a: ")] == []
    assert "a: done in" in printed
    path.write_text(text.replace("'a')\"", "'A')\""), encoding="utf-8")
    launcher.repro(repository, jobs=2)
    printed = capsys.readouterr().out
    assert {line[0] for line in printed.splitlines() if ": done in" in line} == set("abc")  # d: the same bc


def test_writes_the_lock_file_of_dvc(repository: Path) -> None:
    launcher.repro(repository, jobs=2)
    own = (repository / "dvc.lock").read_bytes()
    (repository / "dvc.lock").unlink()
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], cwd=repository, check=True)
    assert (repository / "dvc.lock").read_bytes() == own


def test_a_failing_stage_is_named_and_what_follows_does_not_run(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "wait_for.py").write_text("raise SystemExit('error: bad input')", encoding="utf-8")
    with pytest.raises(UserError, match=r"stage: [bc]: failed; see \.checkpoints/logs/[bc]\.log"):
        launcher.repro(repository, jobs=2)
    assert "error: bad input" in capsys.readouterr().err
    assert not (repository / "d.txt").exists()


def test_heaviest_chain_starts_first() -> None:
    waits_for = {"a": set[str](), "b": {"a"}, "c": set[str](), "d": {"b", "c"}, "e": set[str]()}
    assert launcher._by_weight(waits_for, set(waits_for)) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(("visible", "expected"), [("", 0), ("-1", 0), ("0", 1), ("0,2, 3", 3)])
def test_counts_visible_gpus(visible: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert launcher.count_gpus() == expected


def test_threads_are_those_of_the_hungriest_stage(params: Params) -> None:
    assert launcher.most_threads(params) == 1
    predict = params.predict.model_copy(update={"threads": 4})
    assert launcher.most_threads(params.model_copy(update={"predict": predict})) == 4
    made = params.pseudo_labels["mal_masks"]
    made = made.model_copy(update={"labeling": made.labeling.model_copy(update={"threads": 3})})
    assert launcher.most_threads(params.model_copy(update={"pseudo_labels": {"made": made}})) == 3


@pytest.mark.parametrize(
    ("table", "name", "changes"),
    [
        ("semantic_predict", "one_scale", {"threads": 4}),
        ("spread_cam_labels", "spread_tag", {"threads": 4}),
        ("cams", "cams", {"inference": {"threads": 4}}),
        ("semantic_methods", "spml_weak", {"train": {"threads": 4}}),
    ],
)
def test_threads_of_label_maps_count(params: Params, table: str, name: str, changes: dict[str, Any]) -> None:
    row = getattr(params, table)[name]
    values = {key: value for key, value in changes.items() if not isinstance(value, dict)}
    for key, value in changes.items():
        if isinstance(value, dict):
            values[key] = getattr(row, key).model_copy(update=value)
    changed = params.model_copy(update={table: {name: row.model_copy(update=values)}})
    assert launcher.most_threads(changed) == 4


def test_threads_of_labeling_count_where_a_run_labels(params: Params) -> None:
    labeling = params.predict.labeling.model_copy(update={"threads": 2})
    predict = params.predict.model_copy(update={"labeling": labeling})
    labels = params.model_copy(update={"predict": predict})
    assert launcher.most_threads(labels) == 2
    detects = {name: run for name, run in params.runs.items() if run.task == "instances"}
    assert launcher.most_threads(labels.model_copy(update={"runs": detects})) == 1
