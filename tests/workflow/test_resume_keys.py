"""A resume point is of no use once code has changed that decides the result."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.workflow.dag import Stage, read_dag
from tests.workflow.repository import add_weight_file, copy_pipeline

KeyOf = Callable[[str], str]
STAGES = (
    "train@oracle",
    "train@boxinst",
    "train@mal",
    "pseudo_labels@mal_masks",
    "backbones@shapes_pretrained",
    "weight_files@own",
)
OPTIONS = {"train": "--run", "pseudo_labels": "--name", "backbones": "--name", "weight_files": "--name"}
INPUTS = (
    "data/demo/prepared/train/images.json",
    "data/demo/labels/boxes/labels.json",
    "data/demo/labels/masks/labels.json",
    "data/demo/backbones/shapes_pretrained/backbone.safetensors",
    "data/demo/backbones/own/backbone.safetensors",
    "data/demo/models/mal/seed-0/model.json",
    "data/demo/models/mal/seed-0/model.safetensors",
)


@pytest.fixture(scope="module")
def repository(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's code, with empty files in the place of what the stages read."""
    folder = copy_pipeline(root, tmp_path_factory.mktemp("repository"))
    for name in ("pipeline", "stages"):
        shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    add_weight_file(folder, "data/own.safetensors")
    for name in INPUTS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.fixture(scope="module")
def dag(repository: Path) -> dict[str, Stage]:
    return read_dag(repository)


class _KeyIs(Exception):
    """Ends a stage as soon as it has its key."""


@pytest.fixture
def key_of(repository: Path, monkeypatch: pytest.MonkeyPatch) -> KeyOf:
    """The key under which a stage's script would resume, all its work left out."""
    monkeypatch.chdir(repository)

    def work(*_: Any, key: str, **__: Any) -> None:
        raise _KeyIs(key)

    def key_of(stage: str) -> str:
        kind, name = stage.split("@")
        script = Path("stages") / f"{'backbones' if kind == 'weight_files' else kind}.py"
        spec = importlib.util.spec_from_file_location("stage_under_test", script)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        nothing = SimpleNamespace(open=lambda *_: None, read=lambda *_: None)
        stand_ins: dict[str, Any] = {"ImageStore": nothing, "LabelFile": nothing}
        stand_ins["build_training"] = lambda *_: (None, None)
        stand_ins |= dict.fromkeys(("fit", "write_pseudo_labels", "write_backbone_start"), work)
        for attribute in stand_ins.keys() & vars(module).keys():
            monkeypatch.setattr(module, attribute, stand_ins[attribute])
        monkeypatch.setattr(sys, "argv", [str(script), OPTIONS[kind], name])
        with pytest.raises(_KeyIs) as caught:
            module.main()
        return str(caught.value)

    return key_of


@pytest.mark.parametrize("stage", STAGES)
def test_every_code_dependency_is_in_the_key(stage: str, dag: dict[str, Stage], key_of: KeyOf) -> None:
    before = key_of(stage)
    assert key_of(stage) == before
    code = [Path(dep) for dep in dag[stage].deps if dep.startswith(("pipeline/", "stages/"))]
    assert len(code) > 8
    for dep in code:
        file = min(dep.rglob("*.py")) if dep.is_dir() else dep
        text = file.read_text(encoding="utf-8")
        file.write_text(f"{text}# changed\n", encoding="utf-8")
        try:
            assert key_of(stage) != before, dep
        finally:
            file.write_text(text, encoding="utf-8")
    assert key_of(stage) == before


@pytest.mark.parametrize("stage", STAGES)
def test_code_of_others_is_not_in_the_key(stage: str, repository: Path, key_of: KeyOf) -> None:
    before, file = key_of(stage), repository / "pipeline" / "report" / "page.py"
    text = file.read_text(encoding="utf-8")
    file.write_text(f"{text}# changed\n", encoding="utf-8")
    assert key_of(stage) == before
    file.write_text(text, encoding="utf-8")


def test_all_scripts_that_resume_are_tested(root: Path) -> None:
    resuming = {
        path.stem for path in (root / "stages").glob("*.py") if "layout.checkpoint(" in path.read_text()
    }
    assert resuming == {stage.split("@")[0] for stage in STAGES} - {"weight_files"}
