"""A real Dask scheduler and its workers, as processes on the loopback interface."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from distributed import Client

from pipeline.params import Executor

WAIT_SECONDS = 120


class DaskCluster(NamedTuple):
    """processes: the scheduler, and then the workers."""

    executor: Executor
    processes: list[subprocess.Popen[bytes]]


@contextmanager
def dask_cluster(root: Path, folder: Path, workers: int, allowed_failures: int = 3) -> Iterator[DaskCluster]:
    """Start them, as a user does in the repository `root`; logs and what else they write go to `folder`."""
    file = folder / "scheduler.json"
    environment = {
        **os.environ,
        "PYTHONPATH": str(root),
        "DASK_TEMPORARY_DIRECTORY": str(folder),
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(allowed_failures),
    }
    common = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
    commands = [["scheduler", "--port", "0", *common]]
    commands += [["worker", "--nthreads", "1", "--no-nanny", *common]] * workers
    processes = []
    with (folder / "log.txt").open("wb") as log:
        try:
            for command in commands:
                call = [sys.executable, "-m", "dask", *command]
                processes.append(subprocess.Popen(call, cwd=root, env=environment, stdout=log, stderr=log))
            while not file.exists():
                assert processes[0].poll() is None, (folder / "log.txt").read_text()
                time.sleep(0.05)
            with Client(scheduler_file=str(file), timeout=WAIT_SECONDS, set_as_default=False) as client:
                if workers:
                    client.wait_for_workers(workers, timeout=WAIT_SECONDS)
            address = json.loads(file.read_text())["address"]
            yield DaskCluster(Executor(address=address), processes)
        finally:
            for process in reversed(processes):
                process.kill()
                process.wait()
