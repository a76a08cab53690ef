"""Trainings in a process of their own, which kills itself and goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def train_apart(root: Path, script: Path, out: Path) -> Path:
    """Run a script that writes into the folder `out`, on one thread of the CPU; returns that folder."""
    environment = os.environ | {"PYTHONPATH": str(root), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), str(out)],
        env=environment,
        cwd=out,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out
