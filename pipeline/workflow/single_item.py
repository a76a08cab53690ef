"""`python -m pipeline.workflow.single_item STAGE`: `dvc --wait-for-lock repro --single-item STAGE`.

DVC does the work (its cache and its run cache included); the entry in dvc.lock is read and written by
`lock_file`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dvc.dvcfile import PROJECT_FILE, load_file
from dvc.exceptions import DvcException
from dvc.repo import Repo, lock_repo
from dvc.stage.serialize import to_single_stage_lockfile

from pipeline.workflow.lock_file import read, record
from pipeline.workflow.parsed_once import parsed_once


def main(name: str) -> int:
    """Reproduce one stage of the repository in the current folder; returns the exit status."""
    try:
        with (
            Repo(_wait_for_lock=True) as repo,
            lock_repo(repo),
            repo.scm_context(quiet=True),
            parsed_once(),
        ):
            project = load_file(repo, PROJECT_FILE)
            project.lockfile_contents = {"stages": read(Path("dvc.lock"), name)}
            stages = project.stages
            stage = stages[name]
            if stage.reproduce():
                record(Path("dvc.lock"), name, to_single_stage_lockfile(stage), list(stages))
    except DvcException as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
