"""Progress on stderr: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm


class Progress:
    """Counts `done` to `total`, with the time left.  A context manager.

    In a log file a line appears every 10 s at first, and every 2 % of the time elapsed later on.
    """

    def __init__(self, description: str, total: int, unit: str, done: int = 0, show: bool = True) -> None:
        self.description, self.total, self.unit = description, total, unit
        self.first = self.done = done
        self.started = self.printed = time.monotonic()
        self._show = show
        self._bar = tqdm(
            desc=description,
            total=total,
            initial=done,
            unit=f" {unit}",
            file=sys.stderr,
            mininterval=0.5,
            dynamic_ncols=True,
            disable=not (show and sys.stderr.isatty()),
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if self._show and self._bar.disable and error is None and self.done > self.first:
            self._print("")

    @property
    def rate(self) -> float:
        """Units per second since this object was made."""
        return (self.done - self.first) / max(time.monotonic() - self.started, 1e-9)

    def advance(self, note: str = "") -> None:
        """One more unit is done; `note` is shown behind the time."""
        self.done += 1
        if not self._bar.disable:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update()
        elif self._show:
            now = time.monotonic()
            if now - self.printed >= max(10.0, (now - self.started) / 50):
                self._print(note)
                self.printed = now

    def _print(self, note: str) -> None:
        left = (self.total - self.done) / max(self.rate, 1e-9)
        times = f"{_clock(time.monotonic() - self.started)} elapsed, {_clock(left)} left"
        line = f"{self.description}: {self.done}/{self.total} {self.unit}, {times}"
        print(f"{line}, {note}" if note else line, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    return str(tqdm.format_interval(seconds))
