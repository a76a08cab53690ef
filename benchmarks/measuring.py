"""CPU time and peak memory of versions of the same work."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CLEAR = Path("/proc/self/clear_refs")

needs_peak_memory = pytest.mark.skipif(not CLEAR.exists(), reason="reads peak memory from Linux's /proc")


def cpu_seconds(works: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """CPU time of every call of each work; they take turns, so that other load meets all of them."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, record in zip(works, times, strict=True):
            start = time.process_time()
            work()
            record.append(time.process_time() - start)
    return times


def extra_mib(work: Callable[[], object]) -> float:
    """Growth of this process's peak resident size over a call, in MiB.

    Call it in a process of its own, after a small call that loads what the work loads once.
    """
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before must not serve the work unseen
    CLEAR.write_text("5")  # the peak starts again from the present size
    before = _peak_kib()
    work()
    return (_peak_kib() - before) / 1024


def _peak_kib() -> int:
    """Of this process alone; `ru_maxrss` would include that of the parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def run_alone(file: str, *arguments: object) -> str:
    """What a benchmark's file prints when it is run as a program, in a process of its own."""
    command = [sys.executable, "-m", f"benchmarks.{Path(file).stem}", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
