"""A large JSON file piece by piece: one element of one of its lists is in memory at a time."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from pipeline.errors import UserError

BLOCK = 1 << 18  # bytes read at a time, at least

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


class Element(NamedTuple):
    """An element of a list: its value, and where its text is in the file, in bytes."""

    value: Any
    offset: int
    length: int


class List:
    """Stands for a list in `members`; `elements` reads it."""


def members(path: Path) -> dict[str, Any]:
    """The members of the object that the file is, with `List()` in the place of every list.

    Raises UserError when the file is missing or is not a JSON object.
    """
    return dict(_read(path, None))


def elements(path: Path, key: str) -> Iterator[Element]:
    """The elements of the list under `key`, in order; none if the file has no such list.

    Raises UserError as `members`, once it gets to what is no JSON.
    """
    for _, value in _read(path, key):
        if isinstance(value, Element):
            yield value


def _read(path: Path, key: str | None) -> Iterator[tuple[str, Any]]:
    """(name, value) of every member, (name, List()) of a list, and (key, Element) of each of `key`'s."""
    try:
        with path.open("rb") as stream:
            yield from _members(_Text(stream), key)
    except FileNotFoundError:
        raise UserError(path, "", "file not found", "run `dvc repro` to make it") from None
    except ValueError as error:  # json.JSONDecodeError and UnicodeDecodeError are kinds of it
        raise UserError(path, "", f"not a JSON object ({error})", "delete it and run `dvc repro`") from None


def _members(text: _Text, key: str | None) -> Iterator[tuple[str, Any]]:
    text.expect("{")
    while not text.accept("}"):
        name = text.value().value
        text.expect(":")
        if text.accept("["):
            yield name, List()
            while not text.accept("]"):
                element = text.value()
                if name == key:
                    yield name, element
                text.separate("]")
        else:
            yield name, text.value().value
        text.separate("}")
    text.expect("")


class _Text:
    """A place in a JSON text, of which a block at a time is read.

    Bytes are read as Latin-1, one character each, so that places in the text are places in the file; a value
    with other characters is decoded anew from its own bytes.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._start = len(codecs.BOM_UTF8) if stream.read(3) == codecs.BOM_UTF8 else 0
        stream.seek(self._start)
        self._text, self._at = "", 0

    def value(self) -> Element:
        """Read the next value, which must be followed by something."""
        self._skip_space()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                if not self._more():
                    raise
            else:
                # A number at the end of the block may go on in the next one, as 1.5 and 1e5 after their 1.
                if self._text[end : end + 1] not in ("", ".", "e", "E") or not self._more():
                    break
        text = self._text[self._at : end]
        if not text.isascii():
            value = json.loads(text.encode("latin-1").decode("utf-8"))
        element = Element(value, self._start + self._at, end - self._at)
        self._at = end
        return element

    def accept(self, mark: str) -> bool:
        """Whether `mark` comes next; if so, go past it."""
        self._skip_space()
        found = self._text.startswith(mark, self._at)
        self._at += len(mark) * found
        return found

    def expect(self, mark: str) -> None:
        """Go past `mark`, or past the end of the text for ""."""
        if not (self.accept(mark) and (mark or self._at == len(self._text))):
            raise ValueError(f"byte {self._start + self._at}: expected {mark!r}" if mark else "extra text")

    def separate(self, end: str) -> None:
        """Go past the comma, unless `end` comes next; a comma before `end` is a mistake."""
        self._skip_space()
        if not self._text.startswith(end, self._at):
            self.expect(",")
            self._skip_space()
            if self._text.startswith(end, self._at):
                raise ValueError(f"byte {self._start + self._at}: a comma before {end!r}")

    def _skip_space(self) -> None:
        while True:
            space = _SPACE.match(self._text, self._at)
            assert space is not None
            self._at = space.end()
            if self._at < len(self._text) or not self._more():
                return

    def _more(self) -> bool:
        """Read on, dropping what has been read; False at the end of the file."""
        kept = self._text[self._at :]
        block = self._stream.read(max(BLOCK, len(kept)))  # twice as much each time, if one value is long
        self._start += self._at
        self._text, self._at = kept + block.decode("latin-1"), 0
        return bool(block)
