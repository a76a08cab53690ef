"""What every stage script starts with."""

from __future__ import annotations

import argparse
import hashlib
import re
from pathlib import Path

from pydantic import BaseModel

from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.params_file import load_params, read_yaml

_ITEM = re.compile(r"\$\{item\.(\w+)\}")


def open_stage(option: str = "") -> tuple[Params, Layout, str]:
    """Parse the stage's one option (`--run` or `--name`), read params.yaml of the current folder.

    Returns params, the benchmark's paths and the option's value ("" without an option).
    """
    parser = argparse.ArgumentParser()
    if option:
        parser.add_argument(option, required=True, dest="value")
    value = getattr(parser.parse_args(), "value", "")
    params = load_params(Path("params.yaml"))
    return params, Layout(Path(), params.benchmark), value


def seeds_of(params: Params, name: str) -> tuple[int, ...]:
    """Seeds of a row of the comparison; a baseline has those of the run whose boxes it fills."""
    row = params.untrained.get(name)
    return params.trained[row.detections if row else params.rows[name]].seeds


def rows_of(params: Params, run: str) -> list[str]:
    """Rows of the comparison that show what a run (or a baseline) predicts: its own, and its teacher's."""
    return [run] if run in params.untrained else [row for row, source in params.rows.items() if source == run]


def stage_code(stage: str, row: BaseModel) -> tuple[Path, ...]:
    """The code that decides what a stage of dvc.yaml makes of `row`: its dependencies that are code.

    A resume point belongs to this code: what another version of it began, this one must not end.
    """
    pipeline = read_yaml(Path("dvc.yaml").read_text(encoding="utf-8"))
    deps: list[str] = pipeline["stages"][stage]["do"]["deps"]
    named = (_ITEM.sub(lambda found: str(getattr(row, found[1])), dep) for dep in deps)
    return tuple(Path(dep) for dep in named if dep.startswith(("pipeline/", "stages/")))


def digest(*parts: object, files: tuple[Path, ...] = ()) -> str:
    """SHA-256 over the text of `parts` and over the names and bytes of files, folders walked in order."""
    state = hashlib.sha256("\0".join(map(str, parts)).encode())
    for path in files:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                state.update(file.as_posix().encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return state.hexdigest()
