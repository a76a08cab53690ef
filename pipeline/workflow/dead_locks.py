"""Release what DVC keeps locked for processes that have been killed.

DVC notes in `.dvc/tmp/rwlock` who reads and who writes which file, and drops the notes of processes that
are gone.  Three kills it does not get over: one whose process nothing has reaped (in a container without an
init process a zombie stays for good, and DVC takes it for alive), one whose number another program has now,
and one in the middle of writing the notes, which leaves half a file.
"""

from __future__ import annotations

import json
from pathlib import Path

import psutil
from dvc.lock import make_lock

from pipeline.files import write_text

_Note = dict[str, int | str]  # "pid" and "cmd" of a process


def release_dead(folder: Path, program: str, *, hardlink: bool) -> None:
    """Take the notes of dead processes out of `folder`/rwlock, and remove the file if it is not whole.

    folder: `.dvc/tmp` of the repository.
    program: what the command of a stage's process holds, by which such a process can be told from another
        that has its number now.
    hardlink: DVC's setting core.hardlink_lock, how the file is guarded.
    """
    path = folder / "rwlock"
    if not path.exists():
        return

    def left(note: _Note) -> bool:
        return not _is_dead(int(note["pid"]), program if program in str(note["cmd"]) else "")

    with make_lock(str(folder / "rwlock.lock"), tmp_dir=str(folder), hardlink_lock=hardlink):
        try:
            notes = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            path.unlink(missing_ok=True)
            return
        try:
            readers = {name: list(filter(left, noted)) for name, noted in notes.get("read", {}).items()}
            writers = {name: note for name, note in notes.get("write", {}).items() if left(note)}
        except (AttributeError, KeyError, TypeError, ValueError):
            return  # of another format: DVC says so
        kept = {"write": writers, "read": {name: noted for name, noted in readers.items() if noted}}
        if kept != notes:
            write_text(path, json.dumps(kept))


def _is_dead(number: int, program: str) -> bool:
    """Whether a process is a zombie, or is not one of `program`.

    One that is gone is left to DVC: it may run elsewhere, in another container on the same files.
    """
    try:
        process = psutil.Process(number)
        zombie: bool = process.status() == psutil.STATUS_ZOMBIE
        return zombie or not any(program in argument for argument in process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
