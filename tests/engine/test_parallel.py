from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import psutil
import pytest
import torch
from threadpoolctl import threadpool_limits

from pipeline.engine import parallel
from pipeline.engine.parallel import map_images
from pipeline.errors import UserError
from pipeline.files import read_json, write_json
from tests.engine.map_work import die, sleep_and_tell, who_at_once
from tests.engine.thread_work import threads_of_libraries


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes are started however little work there is."""
    monkeypatch.setattr(parallel, "ALONE_SECONDS", -1.0)


def test_one_process_calls_here(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[int] = []
    assert list(map_images(lambda item: seen.append(item) or -item, [3, 1, 2], 1, "doing")) == [-3, -1, -2]
    assert seen == [3, 1, 2]
    assert "doing: 3/3 images" in capsys.readouterr().err


class Made:
    """Items that are made when they are asked for; it tells how many were."""

    def __init__(self, length: int) -> None:
        self.length, self.made = length, 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[float]:
        for value in range(self.length):
            self.made += 1
            yield float(value)


@pytest.mark.slow
def test_items_are_made_a_few_batches_ahead_of_the_results(at_once: None) -> None:
    items = Made(10_000)
    results = map_images(math.sqrt, items, 2, "doing")
    assert next(results) == 0.0
    assert items.made < 1000
    results.close()
    assert list(map_images(math.sqrt, Made(101), 2, "doing")) == [math.sqrt(value) for value in range(101)]
    assert list(map_images(math.sqrt, Made(0), 2, "doing")) == []


@pytest.mark.slow
def test_several_processes_keep_the_order(at_once: None) -> None:
    values = list(range(101))
    assert list(map_images(partial(math.pow, 2.0), values, 2, "doing")) == [2.0**value for value in values]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_mistake_comes_back_whole(at_once: None, tmp_path: Path, processes: int) -> None:
    write_json(tmp_path / "good.json", 1)
    results = map_images(read_json, [tmp_path / "good.json", tmp_path / "bad.json"], processes, "doing")
    assert next(results) == 1
    with pytest.raises(UserError) as caught:
        next(results)
    assert caught.value.file == str(tmp_path / "bad.json")
    assert caught.value.problem == "file not found"


@pytest.mark.slow
def test_a_killed_process_is_told(at_once: None) -> None:
    with pytest.raises(UserError, match=r"doing: a process was killed.*; lower its number of processes"):
        list(map_images(die, [1, 2], 2, "doing"))


@pytest.mark.slow
def test_processes_end_at_once_with_whoever_stops_early(at_once: None) -> None:
    results = map_images(sleep_and_tell, [0.0, 0.0, 3600.0, 3600.0], 2, "doing")
    pids = {next(results), next(results)}
    results.close()
    assert os.getpid() not in pids
    assert not any(psutil.pid_exists(pid) for pid in pids)


@pytest.mark.slow
def test_processes_end_with_a_killed_parent(root: Path, tmp_path: Path) -> None:
    """Ended by nobody, they would wait for work for ever."""
    script = tmp_path / "script.py"
    script.write_text(
        "from pipeline.engine import parallel\n"
        "from tests.engine.map_work import sleep_and_tell\n"
        "if __name__ == '__main__':\n"
        "    parallel.ALONE_SECONDS = -1.0\n"
        "    items = [0.0, 0.0, *[0.2] * 10_000]\n"
        "    for pid in parallel.map_images(sleep_and_tell, items, 2, 'doing'):\n"
        "        print(pid, flush=True)\n"
    )
    command = [sys.executable, str(script)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        workers = [psutil.Process(int(process.stdout.readline())) for _ in range(2)]
        process.kill()
        gone, alive = psutil.wait_procs(workers, timeout=60)
    assert gone
    assert not alive


def test_little_work_is_done_here() -> None:
    assert list(map_images(who_at_once, [1, 2, 3], 2, "doing")) == [os.getpid()] * 3


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_libraries_have_one_thread_wherever_an_item_is_calculated(
    monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    if processes > 1:
        monkeypatch.setattr(parallel, "ALONE_SECONDS", -1.0)
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
    before = threads_of_libraries(0)
    try:
        cv2.setNumThreads(2)
        torch.set_num_threads(2)
        with threadpool_limits(2, user_api="blas"):
            results = map_images(threads_of_libraries, [1, 2, 3], processes, "doing")
            for found in results:
                assert found == [1, 1, 1]
                assert threads_of_libraries(0) == [2, 2, 2], "whoever asks for results has his own"
    finally:
        cv2.setNumThreads(before[2])
        torch.set_num_threads(before[1])


def test_nothing_to_do() -> None:
    assert list(map_images(math.sqrt, [], 1, "doing")) == []
