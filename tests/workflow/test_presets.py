"""`python -m pipeline use` replaces params.yaml and never loses edits."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.workflow.presets import preset_names, use_preset


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "presets").mkdir()
    for name in ("one", "two"):
        (tmp_path / "presets" / f"{name}.yaml").write_text(f"benchmark: {name}\n", encoding="utf-8")
    (tmp_path / "params.yaml").write_text("benchmark: one\n", encoding="utf-8")
    return tmp_path


def git(repository: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=repository, check=True, capture_output=True)


def text(repository: Path) -> str:
    return (repository / "params.yaml").read_text(encoding="utf-8")


def test_switches_between_presets(repository: Path) -> None:
    use_preset(repository, "two", force=False)
    assert text(repository) == "benchmark: two\n"
    assert preset_names(repository) == ["one", "two"]


def test_unknown_preset_lists_the_known(repository: Path) -> None:
    with pytest.raises(UserError, match=r"three.*one, two"):
        use_preset(repository, "three", force=False)
    assert text(repository) == "benchmark: one\n"


def test_edits_are_kept_unless_forced(repository: Path) -> None:
    (repository / "params.yaml").write_text("benchmark: mine\n", encoding="utf-8")
    with pytest.raises(UserError, match="--force"):
        use_preset(repository, "two", force=False)
    assert text(repository) == "benchmark: mine\n"
    use_preset(repository, "two", force=True)
    assert text(repository) == "benchmark: two\n"


def test_committed_edits_may_be_replaced(repository: Path) -> None:
    (repository / "params.yaml").write_text("benchmark: mine\n", encoding="utf-8")
    git(repository, "init", "-q")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "Start")
    use_preset(repository, "two", force=False)
    assert text(repository) == "benchmark: two\n"
