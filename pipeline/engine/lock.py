"""One process per checkpoint folder: a second one waits for the first."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.distributed import first_object, is_main


@contextmanager
def only_process(folder: Path, name: str, work: str) -> Iterator[None]:
    """Hold the folder's lock.  While another process holds it, say so in one line and wait.

    work: what the lock's holder does, for that line: "training this run".
    Killing DVC leaves the process of its stage running, and the repeated stage would do the same work a
    second time: it waits here, and then finds the first one's last resume point.  With several processes
    the main one holds the lock for all.  A killed process leaves no lock behind.
    """
    handle = _wait(folder, name, work) if is_main() else -1
    first_object(None)
    try:
        yield
    finally:
        if handle >= 0:
            os.close(handle)


def discard(folder: Path) -> None:
    """Remove the checkpoint folder of finished work; call it once its outputs are written.

    The folder stays if another process took the lock in the meantime: it finishes at once from the last
    resume point in there, and removes the folder itself.
    """
    if not is_main() or not folder.is_dir():
        return
    handle = _take(folder, wait=False)
    if handle is not None:
        shutil.rmtree(folder)
        os.close(handle)


def _wait(folder: Path, name: str, work: str) -> int:
    handle = _take(folder, wait=False)
    if handle is None:
        owner = (folder / "lock").read_text().strip() or "unknown"
        print(
            f"{name}: process {owner} is {work} already; waiting for it to finish"
            f" (Ctrl-C to give up, `kill {owner}` to stop it)",
            file=sys.stderr,
            flush=True,
        )
        try:
            handle = _take(folder, wait=True)
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        assert handle is not None
    return handle


def _take(folder: Path, wait: bool) -> int | None:
    """The locked file's descriptor; None if it is locked by another process and `wait` is False."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:  # another process has just discarded the folder
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException as error:
            os.close(handle)
            if isinstance(error, BlockingIOError):
                return None
            raise
        if _is_current(handle, folder / "lock"):
            os.truncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
            return handle
        os.close(handle)


def _is_current(handle: int, path: Path) -> bool:
    """Whether the open file is still the one at `path`: its last holder may have discarded the folder."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
