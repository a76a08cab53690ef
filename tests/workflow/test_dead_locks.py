"""What a killed process had locked is released, what a running one has locked is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.workflow.dead_locks import release_dead

STAGE = "/pipeline/workflow/single_item.py train@boxinst"


@pytest.fixture
def zombie() -> Iterator[int]:
    """A process that has been killed and that nothing reaps, as in a container without an init process."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.pid_exists(process.pid)
    yield process.pid
    process.communicate()


def _note(pid: int, command: str = "dvc repro") -> dict[str, int | str]:
    return {"pid": pid, "cmd": command}


def _released(folder: Path, notes: object) -> object:
    (folder / "rwlock").write_text(json.dumps(notes), encoding="utf-8")
    release_dead(folder, "single_item", hardlink=False)
    return json.loads((folder / "rwlock").read_text(encoding="utf-8"))


@pytest.mark.parametrize("command", ["dvc repro", STAGE])
def test_a_zombie_locks_nothing(tmp_path: Path, zombie: int, command: str) -> None:
    own, dead = _note(os.getpid()), _note(zombie, command)
    notes = {"write": {"/a": dead}, "read": {"/b": [dead, own], "/c": [dead]}}
    assert _released(tmp_path, notes) == {"write": {}, "read": {"/b": [own]}}


def test_a_running_dvc_keeps_its_locks(tmp_path: Path) -> None:
    notes = {"write": {"/a": _note(os.getpid())}, "read": {"/b": [_note(os.getpid())]}}
    assert _released(tmp_path, notes) == notes


def test_a_running_stage_keeps_its_locks(tmp_path: Path) -> None:
    """As one that somebody has started by hand."""
    command = [sys.executable, "-c", "input()", "-m", "pipeline.workflow.single_item", "train@boxinst"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        notes = {"write": {"/a": _note(process.pid, STAGE)}, "read": {"/b": [_note(process.pid, STAGE)]}}
        assert _released(tmp_path, notes) == notes
        process.kill()


def test_one_that_is_gone_is_left_to_dvc(tmp_path: Path) -> None:
    """It may run in another container on the same files."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    notes = {"write": {"/a": _note(process.pid, STAGE)}, "read": {}}
    assert _released(tmp_path, notes) == notes


def test_another_program_with_the_number_of_a_dead_stage_locks_nothing(tmp_path: Path) -> None:
    note = _note(os.getpid(), STAGE)
    assert _released(tmp_path, {"write": {"/a": note}, "read": {"/b": [note]}}) == {"write": {}, "read": {}}


@pytest.mark.parametrize("notes", [[], {"write": {"/a": {"pid": 1}}}, {"read": {"/a": 1}}])
def test_another_format_is_left_to_dvc(tmp_path: Path, notes: object) -> None:
    assert _released(tmp_path, notes) == notes


@pytest.mark.parametrize("text", ["", '{"write": {"/a": {"pi'])
def test_half_a_file_is_removed(tmp_path: Path, text: str) -> None:
    (tmp_path / "rwlock").write_text(text, encoding="utf-8")
    release_dead(tmp_path, "single_item", hardlink=False)
    assert not (tmp_path / "rwlock").exists()


def test_no_file_is_made(tmp_path: Path) -> None:
    release_dead(tmp_path, "single_item", hardlink=False)
    assert not (tmp_path / "rwlock").exists()
