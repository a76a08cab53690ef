"""Which stages have changed, as DVC says: asked in this process, of one DVC, while stages run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.lock import LockNoop
from dvc.repo import Repo
from dvc.scm import SCMError
from dvc.utils.serialize import LOADERS, load_yaml

from pipeline.errors import UserError
from pipeline.workflow import single_item
from pipeline.workflow.dag import pipeline_stages, to_dag
from pipeline.workflow.dead_locks import release_dead


class Changes:
    """The stages of a repository, to be asked for changes.  `open_changes` makes it.

    dag: the stages as plain data.
    """

    def __init__(self, root: Path, repo: Repo) -> None:
        self._root, self._repo = root, repo
        with _refusals(root):
            stages = pipeline_stages(repo)
        self._stages = {stage.name: stage for stage in stages}
        self.dag = to_dag(root, stages)

    def changed(self, name: str) -> bool:
        """Whether command, parameters, inputs or outputs of a stage are others than dvc.lock said when this
        was opened, so that `dvc repro` would run it.  Raises UserError when DVC cannot say.

        No stage that writes what this one reads may be running.
        """
        with _refusals(self._root), self._repo.lock:
            return bool(self._stages[name].changed())


@contextmanager
def open_changes(root: Path) -> Iterator[Changes]:
    """Read the pipeline once, for questions that take milliseconds.  Raises UserError when DVC refuses it.

    It takes no lock on the repository: DVC holds that one while it hashes what a stage made, and who asks
    must not wait for it.  params.yaml is parsed when it has changed, where DVC parses it for each stage.
    No stage that a launch has started may be running: what such stages had locked is released.
    """
    with _refusals(root):
        repo = Repo(str(root))
        hardlink = repo.config["core"].get("hardlink_lock", False)
        release_dead(Path(repo.tmp_dir), Path(single_item.__file__).name, hardlink=hardlink)
    repo.lock = LockNoop()
    before = LOADERS[".yaml"]
    LOADERS[".yaml"] = _load_once
    try:
        yield Changes(root, repo)
    finally:
        LOADERS[".yaml"] = before
        repo.close()


def _load_once(path: str, fs: object = None) -> Any:
    state = os.stat(path)
    return _parsed(path, state.st_mtime_ns, state.st_size)


@cache
def _parsed(path: str, modified: int, size: int) -> Any:
    return load_yaml(path)


@contextmanager
def _refusals(root: Path) -> Iterator[None]:
    try:
        yield
    except (DvcException, SCMError) as error:
        raise UserError(root / "dvc.yaml", "", f"DVC refuses the pipeline: {error}") from None
