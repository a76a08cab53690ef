"""The one exception type for a user's mistake, and how a program reports it."""

from __future__ import annotations

import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the user can put right: bad input, bad parameters, a missing file.

    file: the file (or the place in it) that is wrong; record: the image, annotation, key or run
    concerned, or ""; problem: what is wrong; remedy: what to do about it, or "".  `str()` is one line.
    """

    def __init__(self, file: object, record: object, problem: str, remedy: str = "") -> None:
        self.file, self.record, self.problem, self.remedy = str(file), str(record), problem, remedy
        where = ": ".join(part for part in (self.file, self.record) if part)
        line = f"{where}: {problem}" if where else problem
        super().__init__(" ".join((f"{line}; {remedy}" if remedy else line).split()))

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str, str, str]]:
        """Survive the way back from a worker process."""
        return UserError, (self.file, self.record, self.problem, self.remedy)


def run_or_exit(main: Callable[[], None]) -> None:
    """Run a program's `main`; a `UserError` becomes one line on stderr and exit status 2, Ctrl-C 130."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(130) from None
