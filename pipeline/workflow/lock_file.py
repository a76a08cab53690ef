"""dvc.lock, the entry of one stage at a time.

DVC parses the whole file and writes it anew, in place, for each stage that has run: seconds per stage with a
hundred of them, and half a file if it is killed meanwhile.  Here one entry is parsed, and its new text takes
the place of the old one; the file is renamed to its name.  The bytes are DVC's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from dvc.utils.serialize import dumps_yaml, parse_yaml

from pipeline.files import write_text

_STAGES = re.compile(r"^stages:.*\n", re.MULTILINE)
_SECTION = re.compile(r"^(?=[^\s#])", re.MULTILINE)  # keys of the file: `stages`, and what else DVC keeps
_OTHER = re.compile(r"^(?!schema)\w+:", re.MULTILINE)
_ENTRY = re.compile(r"^  (?=\S)", re.MULTILINE)  # keys of `stages`; what they hold is indented further


def read(path: Path, name: str) -> dict[str, Any]:
    """What the lock file holds of the stage `name`: {name: entry}, or nothing.

    Raises dvc.exceptions.DvcException for an entry that is no YAML.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    own = [entry for entry in _split(text)[1] if _key(entry) == f"  {name}:"]
    parsed: dict[str, Any] = parse_yaml("".join(own), str(path)) if own else {}
    return parsed


def record(path: Path, name: str, entry: Mapping[str, Any], order: Sequence[str]) -> None:
    """Write what DVC records of the stage `name` into the lock file `path`, which need not exist.

    A stage that is new in the file comes before the first one there that follows it in `order` (the stages of
    dvc.yaml), so that the file does not depend on which of two stages ended first.
    """
    dumped: str = dumps_yaml({"schema": "2.0", "stages": {name: dict(entry)}})
    head, (own,), _ = _split(dumped)
    # A plain DVC that was killed may have left half a line.
    text = path.read_text(encoding="utf-8").rstrip() + "\n" if path.exists() else ""
    before, entries, after = _split(text)
    keys = [_key(entry) for entry in entries]
    key = _key(own)
    if key in keys:
        entries[keys.index(key)] = own
    else:
        later = {f"  {other}:" for other in order[order.index(name) + 1 :]}
        place = next((at for at, other in enumerate(keys) if other in later), len(entries))
        entries.insert(place, own)
    other = _OTHER.search(before)  # whatever is left of a header is written anew
    kept = before[other.start() :] if other else ""
    write_text(path, head + kept + "stages:\n" + "".join(entries) + after)


def _key(entry: str) -> str:
    return entry.partition("\n")[0]


def _split(text: str) -> tuple[str, list[str], str]:
    """Text before `stages`, the text of each stage, and what comes after them."""
    section = _STAGES.search(text)
    if section is None:
        return text, [], ""
    follows = _SECTION.search(text, section.end())
    end = follows.start() if follows else len(text)
    starts = [found.start() for found in _ENTRY.finditer(text, section.end(), end)]
    return text[: section.start()], [text[a:b] for a, b in pairwise([*starts, end])], text[end:]
