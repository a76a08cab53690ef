"""SIGINT and SIGTERM as a request to stop at the next step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from pipeline.distributed import process_count


@dataclass
class StopRequest:
    """signal: the number of the signal that came, 0 = none."""

    signal: int = 0


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Note SIGINT and SIGTERM instead of dying of them.

    In a single process a second signal acts as usual.  A launcher of several processes repeats the
    signal by itself, so there a second one is noted too.  Outside the main thread, where Python cannot
    handle signals, nothing changes.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def note(number: int, _: FrameType | None) -> None:
        request.signal = number
        if process_count() == 1:
            restore()

    for number in previous:
        signal.signal(number, note)
    try:
        yield request
    finally:
        restore()
