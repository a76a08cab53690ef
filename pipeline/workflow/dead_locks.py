"""Release what DVC keeps locked for processes that have been killed.

DVC notes in `.dvc/tmp/rwlock` who reads and who writes which file, and drops the notes of processes that
are gone.  Two kills it does not get over: one whose process nothing has reaped (in a container without an
init process a zombie stays for good, and DVC takes it for alive), and one in the middle of writing the
notes, which leaves half a file.
"""

from __future__ import annotations

import json
from pathlib import Path

import psutil
from dvc.lock import make_lock

from pipeline.files import write_text

_Note = dict[str, int | str]  # "pid" and "cmd" of a process


def release_dead(folder: Path, launched: str, *, hardlink: bool) -> None:
    """Take the notes of dead processes out of `folder`/rwlock, and remove the file if it is not whole.

    folder: `.dvc/tmp` of the repository.
    launched: text in the commands of the caller's own processes, all of which have ended: what now has the
        number of one of them is another program.
    hardlink: DVC's setting core.hardlink_lock, how the file is guarded.
    """
    path = folder / "rwlock"
    if not path.exists():
        return

    def alive(note: _Note) -> bool:
        return launched not in str(note["cmd"]) and _runs(int(note["pid"]))

    with make_lock(str(folder / "rwlock.lock"), tmp_dir=str(folder), hardlink_lock=hardlink):
        try:
            notes = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            path.unlink(missing_ok=True)
            return
        readers = {name: list(filter(alive, noted)) for name, noted in notes.get("read", {}).items()}
        kept = {
            "write": {name: note for name, note in notes.get("write", {}).items() if alive(note)},
            "read": {name: noted for name, noted in readers.items() if noted},
        }
        if kept != notes:
            write_text(path, json.dumps(kept))


def _runs(number: int) -> bool:
    try:
        status: str = psutil.Process(number).status()
    except psutil.NoSuchProcess:
        return False
    return status != str(psutil.STATUS_ZOMBIE)
