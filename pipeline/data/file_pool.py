"""One check over many files, in their order, on several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from pipeline.errors import UserError

Report = TypeVar("Report")


def map_files(
    check: Callable[[str], Report],
    names: Sequence[str],
    processes: int,
    *,
    folder: Path,
    few: int,
    chunk: int,
) -> Iterator[Report]:
    """Yield `check(name)` of every name, with a progress bar.

    check: picklable, and so are its reports; few: so many files are checked before a second process would
    have started; chunk: files per task, enough to hide the cost of passing one to a process.  Raises
    UserError, naming `folder`, when a process is killed.
    """
    bar = {"total": len(names), "desc": "checking images", "unit": "image", "disable": None}
    if processes == 1 or len(names) <= few:
        yield from tqdm(map(check, names), **bar)
        return
    # spawn: a forked copy of a process with threads (any numeric library's) may hang
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        try:
            yield from tqdm(pool.map(check, names, chunksize=chunk), **bar)
        except BrokenProcessPool:
            raise UserError(
                folder,
                "",
                "the image check was killed, as happens when memory runs out",
                "lower processes in params.yaml",
            ) from None
