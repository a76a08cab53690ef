"""One function over many items on several processes or machines: the map for per-image CPU work."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import chain, islice
from typing import Any, Protocol, TypeVar

import cv2
from threadpoolctl import ThreadpoolController

from pipeline.engine.cluster import cluster
from pipeline.engine.progress import Progress
from pipeline.errors import UserError
from pipeline.params import Executor

T = TypeVar("T")
R = TypeVar("R")
T_co = TypeVar("T_co", covariant=True)

HERE = Executor(address="")
ALONE_SECONDS = 0.5  # about what it takes to start a process
BATCH_SECONDS = 0.2  # much beside what passing a batch takes, little to wait for or to lose
MOST_ITEMS = 64  # per batch
BATCHES_AHEAD = 4  # per worker: none is idle, and whatever the number of items, few results wait in memory


class _Future(Protocol):
    """A batch under way, in a process or on a cluster: its results, and the seconds that they took."""

    def result(self) -> tuple[list[Any], float]: ...
    def cancel(self) -> object: ...


class Items(Protocol[T_co]):
    """As many items as its length says: a list, or what makes each one when it is asked for."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[T_co]: ...


Workers = tuple[Callable[[Sequence[Any]], _Future], Callable[[], int]]  # hand over a batch; how many work


def map_images(
    function: Callable[[T], R],
    items: Items[T],
    processes: int,
    description: str,
    executor: Executor = HERE,
) -> Iterator[R]:
    """Yield function(item) for every item, in order, while a progress bar runs.

    items: gone through once, in this process, a few batches ahead of the results.
    processes: 1 calls in this process; more start that many, unless all is done before they would have
    started.  executor: with an address, the workers of a Dask cluster take the place of the processes.
    `function` and the items must then be picklable: a function at the top level of a module, or a
    `functools.partial` of one.  Where an item is calculated must not change its result: libraries have one
    thread everywhere (`_OneThread`).  It may be calculated again when a machine of a cluster is lost.
    Nothing is computed before the first result is asked for.  Raises what `function` raises, and UserError
    when a process is killed or the cluster cannot be used.
    """
    with Progress(description, len(items), "images") as progress:
        for result in _results(function, items, processes, description, executor):
            progress.advance()
            yield result


def _results(
    function: Callable[[T], R], items: Items[T], processes: int, description: str, executor: Executor
) -> Iterator[R]:
    work: Callable[[Sequence[T]], tuple[list[R], float]] = partial(_calculate, function)
    workers: AbstractContextManager[Workers]
    left = iter(items)
    if executor.address:
        workers = cluster(work, executor.address)
    else:
        started, alone = time.monotonic(), _OneThread()
        for item in left:
            if processes > 1 and time.monotonic() - started > ALONE_SECONDS:
                left = chain([item], left)
                break
            with alone():
                result = function(item)
            yield result
        else:
            return
        workers = _pool(work, min(processes, len(items)), _module(function), description)
    if len(items):
        with workers as (submit, count):
            yield from _in_order(submit, count, left)


def _calculate(function: Callable[[T], R], batch: Sequence[T]) -> tuple[list[R], float]:
    started = time.monotonic()
    with _OneThread()():
        return [function(item) for item in batch], time.monotonic() - started


class _OneThread:
    """Holds linear algebra, OpenCV and PyTorch at one thread, while a calculation lasts.

    Several threads add up in another order than one, so that the same item would have other results where
    there are more cores.  Holds the libraries that were loaded when it was made.
    """

    def __init__(self) -> None:
        self._libraries = ThreadpoolController()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        opencv, torch = cv2.getNumThreads(), sys.modules.get("torch")  # most maps need no PyTorch
        own = torch.get_num_threads() if torch else 1
        cv2.setNumThreads(1)
        if torch:
            torch.set_num_threads(1)
        try:
            with self._libraries.limit(limits=1, user_api="blas"):
                yield
        finally:
            cv2.setNumThreads(opencv)
            if torch:
                torch.set_num_threads(own)


def _in_order(
    submit: Callable[[Sequence[T]], _Future], count: Callable[[], int], items: Iterator[T]
) -> Iterator[Any]:
    """The results of all items; batches grow or shrink to what takes BATCH_SECONDS."""
    under_way: deque[_Future] = deque()
    size, ahead, more = 1, BATCHES_AHEAD, True
    try:
        while more or under_way:
            if more and len(under_way) < ahead:
                batch = list(islice(items, size))
                if more := bool(batch):
                    under_way.append(submit(batch))
                continue
            results, seconds = under_way[0].result()
            under_way.popleft()
            size = max(1, min(MOST_ITEMS, int(BATCH_SECONDS * len(results) / max(seconds, 1e-6))))
            ahead = BATCHES_AHEAD * max(1, count())
            yield from results
    finally:
        for future in under_way:
            future.cancel()


# --- processes of this machine ------------------------------------------------------------------------


@contextmanager
def _pool(
    work: Callable[[Sequence[Any]], Any], processes: int, module: str, description: str
) -> Iterator[Workers]:
    """Processes that know `work`.  Raises UserError when one of them is killed."""
    # Not a plain fork, which would copy locks of running threads.  The server imports the function's
    # module once, and the workers start as cheap copies of the server.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, module])
    pool = ProcessPoolExecutor(processes, context, _start_worker, (work,))
    try:
        yield lambda batch: pool.submit(_work_on, batch), lambda: processes
    except BaseException as error:
        for process in list((pool._processes or {}).values()):  # terminate_workers(), from Python 3.14 on
            process.kill()
        if isinstance(error, BrokenProcessPool):
            raise UserError(
                "",
                description,
                "a process was killed, as happens when memory runs out",
                "lower its number of processes in params.yaml",
            ) from None
        raise
    finally:
        pool.shutdown()


def _module(function: Callable[..., Any]) -> str:
    return _module(function.func) if isinstance(function, partial) else function.__module__


_work: Callable[[Sequence[Any]], Any]  # of a worker: passed once, as it may hold a list of all images


def _start_worker(work: Callable[[Sequence[Any]], Any]) -> None:
    """Ctrl-C reaches every process of a terminal: the parent ends its workers itself."""
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed cannot end its workers, which would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work_on(batch: Sequence[Any]) -> Any:
    return _work(batch)
