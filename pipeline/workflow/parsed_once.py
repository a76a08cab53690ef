"""params.yaml is parsed when it has changed.

DVC parses it for each stage that it is asked of, and nine times to run one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from dvc.utils.serialize import LOADERS, load_yaml


@contextmanager
def parsed_once() -> Iterator[None]:
    """DVC reads its parameters through a cache."""
    before = LOADERS[".yaml"]
    LOADERS[".yaml"] = _load_once
    try:
        yield
    finally:
        LOADERS[".yaml"] = before


def _load_once(path: str, fs: object = None) -> Any:
    state = os.stat(path)
    return _parsed(path, state.st_mtime_ns, state.st_size)


@cache
def _parsed(path: str, modified: int, size: int) -> Any:
    return load_yaml(path)
