"""Lines of text in numbered files, so that long work goes on where it was killed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.errors import UserError
from pipeline.files import write_text


class Shards:
    """Numbered files of lines in a folder, each written as a whole and valid for one key only.

    The first line of a file says its key, number and count of lines.  Only the holder of the folder's lock
    may use it.
    """

    def __init__(self, folder: Path, key: str) -> None:
        """Keep the folder's shards from the first to the last whole one of this `key`; remove all others."""
        self._folder, self._key = folder, key
        for leftover in folder.glob(".shard-*"):  # half written by a killed process
            leftover.unlink()
        self._count = 0
        while self._is_whole(self._count):
            self._count += 1
        for file in folder.glob("shard-*.jsonl"):
            if int(file.stem.removeprefix("shard-")) >= self._count:
                file.unlink()

    def __len__(self) -> int:
        return self._count

    def append(self, lines: Sequence[str]) -> None:
        """Write one shard.  Raises UserError when it cannot be written; earlier ones stay."""
        header = json.dumps({"key": self._key, "number": self._count, "lines": len(lines)})
        path = self._path(self._count)
        try:
            write_text(path, "\n".join((header, *lines)) + "\n")
        except OSError as error:
            raise UserError(
                path, "", f"cannot be written: {error}", "make space and run the same command again"
            ) from None
        self._count += 1

    def lines(self) -> Iterator[str]:
        """All lines of all shards, in the order in which they were appended."""
        for number in range(self._count):
            with self._path(number).open(encoding="utf-8") as stream:
                next(stream)
                for line in stream:
                    yield line.removesuffix("\n")

    def _path(self, number: int) -> Path:
        return self._folder / f"shard-{number:06d}.jsonl"

    def _is_whole(self, number: int) -> bool:
        path = self._path(number)
        if not path.exists():
            return False
        try:
            with path.open(encoding="utf-8") as stream:
                header = json.loads(next(stream))
                found = sum(line.endswith("\n") for line in stream)
            whole = header["number"] == number and header["lines"] == found
            key = header["key"]
        except (OSError, ValueError, StopIteration, KeyError, TypeError):
            whole, key = False, None
        if whole and key == self._key:
            return True
        problem = "is of other parameters, data or code" if whole else "is damaged"
        print(f"warning: {path}: {problem}; it and what follows it is made anew", file=sys.stderr, flush=True)
        return False
