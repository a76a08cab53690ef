"""Work on the machines of a Dask cluster, which is what `executor.address` in params.yaml names."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.errors import UserError

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 5
FIRST_WORKER_SECONDS = 10


class Place(NamedTuple):
    """Where a process works, and the code that it has loaded: results may depend on both."""

    folder: str
    code: str


@contextmanager
def cluster(
    work: Callable[[Sequence[Any]], Any], address: str
) -> Iterator[tuple[Callable[[Sequence[Any]], Any], Callable[[], int]]]:
    """A function that hands a batch to the cluster, whose future has work(batch); one that counts workers.

    Batches of a machine that is lost are calculated on another one.  Raises UserError when dask is not
    installed, when the cluster cannot be reached, has no workers or is lost, when a worker is not what this
    process is (other folder, other code), and when a batch kills one worker after the other.
    """
    try:
        import dask
        from distributed import KilledWorker
        from distributed.comm.core import CommClosedError
    except ImportError:
        raise _error("needs dask, which is not installed", "type: pip install -e '.[cluster]'") from None
    # Dask warns of large arguments and advises to send them once, as is done here.
    quiet = dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"})
    with quiet, _connect(address) as client:
        here = Place(os.getcwd(), code())
        # A task, and not scattered data: those would be lost with the machine that holds them.
        shared = client.submit(_unchanged, work, pure=False)
        try:
            yield (
                lambda batch: client.submit(_work_on, here, shared, batch, pure=False),
                lambda: _count_workers(client),
            )
        except KilledWorker:
            raise _error(
                "a batch of images killed several workers, as happens when memory runs out",
                "give workers more memory, or start fewer per machine",
            ) from None
        except (CancelledError, CommClosedError):
            raise _error(
                f"the scheduler at {address} is gone", "start it and its workers again, then this stage"
            ) from None


def _count_workers(client: Client) -> int:
    try:
        return len(client.nthreads())
    except OSError:
        raise CancelledError from None


@contextmanager
def _connect(address: str) -> Iterator[Client]:
    """A client of a cluster that has at least one worker."""
    from distributed import Client

    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what it would log is raised
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except TypeError:
        if not address.startswith("tls:"):
            raise
        raise _error(
            f"{address} needs certificates, and Dask's configuration names none",
            "set distributed.comm.tls.ca-file, client.cert and client.key there",
        ) from None
    except OSError:
        raise _error(
            f"no scheduler answers at {address}", 'start one (dask scheduler), or set address: ""'
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=FIRST_WORKER_SECONDS)
        except TimeoutError:
            raise _error(
                f"the scheduler at {address} has no workers",
                f"start some in this folder: dask worker {address} --nthreads 1",
            ) from None
        yield client


def _error(problem: str, remedy: str) -> UserError:
    return UserError("params.yaml", "executor.address", problem, remedy)


@cache  # a worker keeps the modules that it has imported, whatever becomes of the files
def code() -> str:
    """SHA-256 over the project's Python files, as they were when this process first asked."""
    package = Path(__file__).parents[1]
    state = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        state.update(file.relative_to(package).as_posix().encode() + b"\0")
        state.update(hashlib.sha256(file.read_bytes()).digest())
    return state.hexdigest()


def _unchanged(work: Any) -> Any:
    return work


def _work_on(there: Place, work: Callable[[Sequence[Any]], Any], batch: Sequence[Any]) -> Any:
    """work(batch), on a worker.  Raises UserError if the worker could give another result."""
    from distributed import get_worker

    worker = get_worker()
    again = f"start it again: cd {there.folder} && dask worker SCHEDULER --nthreads 1"
    if os.getcwd() != there.folder:
        problem = f"works in {os.getcwd()}, and not in {there.folder}, to which paths are relative"
    elif code() != there.code:
        problem = "has loaded another version of this project's code"
    elif worker.state.nthreads != 1:
        problem = f"has {worker.state.nthreads} threads, and images are worked on one by one in a process"
    else:
        return work(batch)
    raise UserError(f"Dask worker {worker.address}", "", problem, again)
