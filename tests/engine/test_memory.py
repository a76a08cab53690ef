"""Freed memory stays in the process, so that the next step finds its pages there."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from pipeline.engine.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        blocks = [np.ones(2**20) for _ in range(8)]  # 8 MiB each
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's mallopt")
def test_steps_find_their_pages_again() -> None:
    settings = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
    env = {name: value for name, value in os.environ.items() if not name.startswith(settings)}
    kept, given_back = (
        int(
            subprocess.run(
                [sys.executable, "-c", FAULTS, how], env=env, capture_output=True, check=True
            ).stdout
        )
        for how in ("keep", "leave")
    )
    assert kept < given_back / 10
