from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.engine.lock import discard, only_process

# Another process, without the seconds that importing torch takes: it holds the lock until its stdin ends.
HOLDER = """
import fcntl, os, sys
handle = open(sys.argv[1], "w")
fcntl.flock(handle, fcntl.LOCK_EX)
handle.write(str(os.getpid()))
handle.flush()
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    folder.mkdir(exist_ok=True)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process


def test_second_process_waits_and_says_for_whom(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with another_process(tmp_path) as process:
        assert process.stdin is not None
        threading.Timer(0.3, process.stdin.close).start()
        start = time.monotonic()
        with only_process(tmp_path, "tiny", "training this run"):
            assert time.monotonic() - start > 0.2
            assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert f"tiny: process {process.pid} is training this run already; waiting" in message


def test_lock_of_a_killed_process_is_free(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with another_process(tmp_path) as process:
        process.kill()
    with only_process(tmp_path, "tiny", "training this run"):
        pass
    assert capsys.readouterr().err == ""


def test_discard_removes_the_folder(tmp_path: Path) -> None:
    with only_process(tmp_path / "run", "tiny", "training this run"):
        (tmp_path / "run" / "live").mkdir()
    discard(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    discard(tmp_path / "run")


def test_discard_leaves_the_folder_to_a_waiting_process(tmp_path: Path) -> None:
    (tmp_path / "state.pt").touch()
    with another_process(tmp_path):
        discard(tmp_path)
    assert (tmp_path / "state.pt").exists()


def test_a_process_that_waited_for_a_discarded_folder_locks_the_new_one(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with another_process(folder) as process:
        assert process.stdin is not None
        waiting = threading.Thread(
            target=lambda: only_process(folder, "t", "at work").__enter__(), daemon=True
        )
        waiting.start()
        time.sleep(0.3)
        (folder / "lock").unlink()
        folder.rmdir()
        process.stdin.close()
        waiting.join(5)
    assert not waiting.is_alive()
    assert (folder / "lock").read_text() == f"{os.getpid()}\n"
