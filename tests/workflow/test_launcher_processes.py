"""The processes of a launch: order, failure, interrupts, one launch at a time; `dvc` is a sleeping script."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from argparse import ArgumentTypeError
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.__main__ import _jobs
from pipeline.errors import UserError
from pipeline.workflow import launcher

# As DVC does: a child that does the work, while the parent ignores SIGINT and waits.
DVC = """
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
work = '''
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)
name, seconds = sys.argv[1].split("_")
try:
    Path(name).write_text("started")
    time.sleep(float(seconds))
    Path(name).write_text("done")
except KeyboardInterrupt:
    Path(name).write_text("saved")
    sys.exit(130)
if name.startswith("warn"):
    print("warning: something was left out")
sys.exit(name.startswith("bad"))
'''
sys.exit(subprocess.run([sys.executable, "-c", work, sys.argv[1]]).returncode)
"""

DEAF = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "_command", lambda stage: [sys.executable, "-c", DVC, stage])


def _always(stage: str) -> bool:
    return True


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[int]:
    with launcher._only_launch(tmp_path) as handle:
        yield handle


@pytest.mark.parametrize("jobs", ["-1", "two", "1.5", ""])
def test_a_count_of_stages_that_is_none_is_refused(jobs: str) -> None:
    with pytest.raises(ArgumentTypeError, match="is not a count of stages"):
        _jobs(jobs)


def test_a_stage_starts_when_what_it_waits_for_has_ended(tmp_path: Path, lock: int) -> None:
    waits_for = {"a_0.3": set[str](), "b_0.3": set[str](), "c_0": {"a_0.3"}}
    times = launcher._run_stages(tmp_path, set(waits_for), waits_for, _always, 2, 0, lock)
    assert set(times) == set(waits_for)
    ended = [(tmp_path / name).stat().st_mtime for name in ("a", "c")]
    assert ended == sorted(ended)


@pytest.mark.parametrize(("count", "together"), [(2, 2), (3, 3), (4, 2)])
def test_one_stage_more_starts_where_no_other_could(
    tmp_path: Path, lock: int, monkeypatch: pytest.MonkeyPatch, count: int, together: int
) -> None:
    stages = [f"{letter}_0.5" for letter in "abcd"[:count]]
    waits_for = {name: set[str]() for name in stages} | {"last_0": set(stages)}
    beside: list[int] = []
    start = launcher._start

    def watched(root: Path, stage: str, slot: int, *others: int, nice: bool) -> launcher._Running:
        beside.append(slot + 1)
        return start(root, stage, slot, *others, nice=nice)

    monkeypatch.setattr(launcher, "_start", watched)
    launcher._run_stages(tmp_path, set(stages), waits_for, _always, 2, 0, lock, spare=1)
    assert max(beside[:together]) == together
    assert beside[0] == 1
    if count == 4:
        assert beside[2] <= 2, "the third of four waits for a slot"


def test_a_stage_is_asked_after_those_before_it_and_not_run_if_unchanged(tmp_path: Path, lock: int) -> None:
    asked = []

    def changed(stage: str) -> bool:
        asked.append((stage, (tmp_path / "a").read_text()))
        return stage == "d_0"

    waits_for = {"a_0": set[str](), "b_0": {"a_0"}, "c_0": {"b_0"}, "d_0": {"a_0", "c_0"}, "e_0": {"c_0"}}
    times = launcher._run_stages(tmp_path, {"a_0", "b_0", "e_0"}, waits_for, changed, 2, 0, lock)
    assert set(times) == {"a_0", "d_0", "e_0"}
    assert asked == [("b_0", "done"), ("d_0", "done")]


def test_warnings_of_a_stage_are_repeated(
    tmp_path: Path, lock: int, capsys: pytest.CaptureFixture[str]
) -> None:
    launcher._run_stages(tmp_path, {"warn_0"}, {"warn_0": set()}, _always, 1, 0, lock)
    assert "warn_0: warning: something was left out\n" in capsys.readouterr().out


def test_a_failure_ends_the_launch_after_the_stages_beside_it(
    tmp_path: Path, lock: int, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = ["bad_0", "beside_1", "never_0"]
    with pytest.raises(UserError, match=r"stage: bad_0: failed; see \.checkpoints/logs/bad_0\.log"):
        launcher._run_stages(tmp_path, set(stages), {name: set() for name in stages}, _always, 2, 0, lock)
    assert (tmp_path / "beside").read_text() == "done"
    assert not (tmp_path / "never").exists()
    assert "bad_0: FAILED; still to end: beside_1" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_launcher_alone_stops_every_stage(
    tmp_path: Path, lock: int, number: signal.Signals
) -> None:
    stages = ["one_60", "two_60"]

    def interrupt() -> None:
        while not all((tmp_path / name[:3]).exists() for name in stages):
            time.sleep(0.05)
        time.sleep(0.2)
        os.kill(os.getpid(), number)

    before = set(psutil.Process().children(recursive=True))  # such as the fork server of other tests
    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), launcher._stopped_by_signals():
        launcher._run_stages(tmp_path, set(stages), {name: set() for name in stages}, _always, 2, 0, lock)
    assert time.monotonic() - began < 30
    assert [(tmp_path / name[:3]).read_text() for name in stages] == ["saved", "saved"]
    assert set(psutil.Process().children(recursive=True)) <= before


def test_a_stage_beside_another_gives_way_to_it(tmp_path: Path, lock: int) -> None:
    seen, stages = {}, ["one_60", "two_60"]

    def look() -> None:
        while not all((tmp_path / name[:3]).exists() for name in ("one_60", "two_60")):
            time.sleep(0.05)
        for child in psutil.Process().children():
            if (stage := child.cmdline()[-1]) in stages:  # other tests leave processes of their own
                seen[stage] = child.nice() - psutil.Process().nice()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=look, daemon=True).start()
    with pytest.raises(KeyboardInterrupt), launcher._stopped_by_signals():
        launcher._run_stages(tmp_path, set(stages), {name: set() for name in stages}, _always, 2, 0, lock)
    assert sorted(seen.values()) == [0, launcher._NICE]


def test_a_stage_that_does_not_end_is_killed(
    tmp_path: Path, lock: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "_command", lambda stage: [sys.executable, "-c", DEAF])
    monkeypatch.setattr(launcher, "_STOP_SECONDS", 0.5)
    job = launcher._start(tmp_path, "deaf", 0, 0, lock, nice=False)
    while "deaf" not in job.log.read_text():
        time.sleep(0.05)
    launcher._stop([job])
    assert job.process.returncode == -signal.SIGKILL


def test_a_second_launch_is_refused_even_when_only_a_stage_is_left_of_the_first(tmp_path: Path) -> None:
    with launcher._only_launch(tmp_path) as lock:
        with pytest.raises(UserError, match=rf"\(process {os.getpid()}\).*runs here already; wait"):
            launcher._only_launch(tmp_path).__enter__()
        job = launcher._start(tmp_path, "left_60", 0, 0, lock, nice=False)
    try:
        with pytest.raises(UserError, match="runs here already"):
            launcher._only_launch(tmp_path).__enter__()
    finally:
        launcher._signal([job], signal.SIGKILL)
        job.process.wait()
    with launcher._only_launch(tmp_path):
        pass


def test_a_launcher_in_the_background_can_be_interrupted(tmp_path: Path, lock: int) -> None:
    """With SIGINT ignored, as a shell starts background jobs, and as the stages would inherit it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        test_a_signal_to_the_launcher_alone_stops_every_stage(tmp_path, lock, signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
