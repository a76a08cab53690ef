"""The repository as a user has it after a clone, and the commands that are typed there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

NOT_CLONED = ("reports/", "dvc.lock", "tests/", "benchmarks/")  # results, and what no stage needs


def clone(root: Path, folder: Path, changed: Mapping[str, str]) -> None:
    """Copy the working tree of `root` to `folder` and commit it, without results.

    changed: the texts of files that are others there, by path.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=root, check=True, capture_output=True, text=True
    ).stdout.split("\n")
    for name in filter(None, listed):
        if (root / name).is_file() and not name.startswith(NOT_CLONED):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, folder / name)
    for name, text in changed.items():
        (folder / name).write_text(text, encoding="utf-8")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "Start")


def replaced(text: str, changes: Mapping[str, str]) -> str:
    """`text` with every old replaced by its new; each old must occur."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def run(repository: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """`python -m COMMAND` in `repository`."""
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,  # a hang, on a slow and busy machine too
    )


def git(repository: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=repository, check=True, capture_output=True, text=True
    )
    return done.stdout
