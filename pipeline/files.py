"""Reading and writing files: deterministic bytes, written to a temporary name and then renamed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds, else remove it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes private files; outputs follow the user's umask
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path`; put it in the place of `path` if the block succeeds, else remove it.

    Whatever was at `path` before is gone then, so that no file of an older run stays among new ones.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any, *, indent: int | None = 1) -> None:
    """Write JSON atomically with sorted keys, so that equal values give equal bytes.

    Raises ValueError for NaN or infinity, which JSON cannot say.
    """
    separators = None if indent else (",", ":")
    text = json.dumps(
        value, sort_keys=True, indent=indent, separators=separators, allow_nan=False, ensure_ascii=False
    )
    write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file that another stage wrote.  Raises UserError when it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(path, "", "file not found", "run `dvc repro` to make it") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(path, "", f"not valid JSON ({error})", "delete it and run `dvc repro`") from None


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write named arrays as .npz atomically; equal arrays in equal order give equal bytes."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, values in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, values, allow_pickle=False)


def read_arrays(path: Path, content: str) -> dict[str, NDArray[Any]]:
    """Read what `write_arrays` wrote; content: what it should hold, in words.

    Raises UserError when the file is missing or is something else.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise UserError(path, "", "file not found", "run `dvc repro` to make it") from None
    except (AttributeError, TypeError, ValueError, OSError, EOFError, zipfile.BadZipFile):
        raise UserError(path, "", f"does not hold {content}", "delete it and run `dvc repro`") from None
