"""One function over many items on several processes: the map for per-image CPU work."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import cv2

from pipeline.engine.progress import Progress

T = TypeVar("T")
R = TypeVar("R")


def map_images(
    function: Callable[[T], R], items: Sequence[T], processes: int, description: str
) -> Iterator[R]:
    """Yield function(item) for every item, in order, while a progress bar runs.

    processes: 1 calls in this process; more start that many, each with one thread.  `function` and the
    items must then be picklable: a function at the top level of a module, or a `functools.partial` of
    one.  Nothing is computed before the first result is asked for.  Raises what `function` raises.
    """
    with Progress(description, len(items), "images") as progress:
        results = map(function, items) if processes <= 1 else _spread(function, items, processes)
        for result in results:
            progress.advance()
            yield result


def _spread(function: Callable[[T], R], items: Sequence[T], processes: int) -> Iterator[R]:
    # Not a plain fork, which would copy locks of running threads.  The server imports the function's
    # module once, and the workers start as cheap copies of the server.
    context = multiprocessing.get_context("forkserver")
    target = function.func if isinstance(function, partial) else function
    context.set_forkserver_preload([__name__, target.__module__])
    chunk = max(1, min(16, len(items) // (4 * processes)))
    with context.Pool(min(processes, max(len(items), 1)), _start_worker) as pool:
        yield from pool.imap(function, items, chunk)


def _start_worker() -> None:
    """Ctrl-C reaches every process of a terminal: the parent ends its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
