"""Trainings in a process of their own, which kills itself and goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TWO_PROCESSES = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")


def train_apart(root: Path, script: Path, out: Path, *launcher: str) -> Path:
    """Run a script that writes into the folder `out`, on one thread of the CPU; returns that folder.

    launcher: what starts it, such as TWO_PROCESSES, and nothing for Python itself.
    """
    environment = os.environ | {"PYTHONPATH": str(root), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launcher, str(script), str(out)],
        env=environment,
        cwd=out,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out
