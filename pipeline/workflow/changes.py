"""Which stages have changed, as DVC says: asked in this process, of one DVC, while stages run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.lock import LockNoop
from dvc.repo import Repo
from dvc.scm import SCMError

from pipeline.errors import UserError
from pipeline.workflow import single_item
from pipeline.workflow.dag import pipeline_stages, to_dag
from pipeline.workflow.dead_locks import release_dead
from pipeline.workflow.parsed_once import parsed_once


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

    def release_dead(self) -> None:
        """Release what DVC keeps locked for killed stages.  Only for who holds the launch's lock."""
        hardlink = self._repo.config["core"].get("hardlink_lock", False)
        release_dead(Path(self._repo.tmp_dir), single_item.__name__.rpartition(".")[2], hardlink=hardlink)

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
    must not wait for it.
    """
    with _refusals(root):
        repo = Repo(str(root))
    repo.lock = LockNoop()
    try:
        with parsed_once():
            yield Changes(root, repo)
    finally:
        repo.close()


@contextmanager
def _refusals(root: Path) -> Iterator[None]:
    try:
        yield
    except (DvcException, SCMError) as error:
        raise UserError(root / "dvc.yaml", "", f"DVC refuses the pipeline: {error}") from None
