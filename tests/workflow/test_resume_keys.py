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

from pipeline.params import SPREAD_TABLES
from pipeline.workflow.dag import Stage, read_dag
from tests.workflow.repository import add_semantic, add_weight_file, copy_pipeline

KeyOf = Callable[[str], str]
STAGES = (
    "train@oracle",
    "train@boxinst",
    "train@boxteacher",
    "train@mal",
    "train@mean_teacher_4",
    "train_distilled@guided_4",
    "pseudo_labels@mal_masks",
    "backbones@shapes_pretrained",
    "weight_files@own",
    "segments@fine",
    "file_segments@drawn",
    "train_cams@plain",
    "cams@plain",
    "refined_cams@spread",
    "train_embeddings@of_points",
    "spread_labels@spread_points",
    "spread_segment_labels@segment_points",
    "spread_cam_labels@spread_tags",
    "retrieved_labels@second_tags",
    "train_semantic@all_pixels",
    "train_classifiers@spml_points",
    "predict_semantic@all_pixels",
    "predict_classifiers@spml_points",
)
SCRIPTS = {  # of stages that share one
    "weight_files": "backbones",
    "file_segments": "segments",
    "train_distilled": "train",
    "train_classifiers": "train_semantic",
    "predict_classifiers": "predict_semantic",
    **dict.fromkeys(SPREAD_TABLES, "spread"),
}
WORK = (  # what a script calls with its key
    "fit",
    "write_pseudo_labels",
    "write_backbone_start",
    "write_segments",
    "train_cams",
    "write_cams",
    "refine_cams",
    "train_semantic",
    "spread",
    "predict_label_maps",
)
INPUTS = (
    "data/demo/prepared/train/images.json",
    "data/demo/labels/boxes/labels.json",
    "data/demo/labels/masks/labels.json",
    "data/demo/backbones/shapes_pretrained/backbone.safetensors",
    "data/demo/backbones/own/backbone.safetensors",
    "data/demo/models/mal/seed-0/model.json",
    "data/demo/models/mal/seed-0/model.safetensors",
    "data/demo/labels/masks_4/labels.json",
    "data/demo/labels/masks_4/unlabelled.json",
    "data/demo/models/mask2former_4/seed-0/model.safetensors",
    "data/demo/prepared/val/images.json",
    "data/demo/labels/tags/labels.json",
    "data/demo/labels/mine/labels.json",
    "data/demo/labels/pixels/labels.json",
    "data/demo/labels/spread_points/labels.json",
    "data/contours/1.png",
    "data/demo/segments/fine/pack.json",
    "data/demo/cams/plain/pack.json",
    "data/demo/models/of_points/seed-3/model.safetensors",
    "data/demo/models/of_tags/seed-3/model.safetensors",
    "data/demo/models/all_pixels/seed-0/model.safetensors",
    "data/demo/models/spml_points/seed-0/model.safetensors",
    "data/demo/models/spml_tags/seed-0/model.safetensors",
)


@pytest.fixture(scope="module")
def repository(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's code, with empty files in the place of what the stages read."""
    folder = copy_pipeline(root, tmp_path_factory.mktemp("repository"))
    for name in ("pipeline", "stages"):
        shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    add_weight_file(folder, "data/own.safetensors")
    add_semantic(folder)
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

    def work(*given: Any, key: str = "", **__: Any) -> None:
        raise _KeyIs(key or given[-1].key)

    def key_of(stage: str) -> str:
        kind, name = stage.split("@")
        script = Path("stages") / f"{SCRIPTS.get(kind, kind)}.py"
        spec = importlib.util.spec_from_file_location("stage_under_test", script)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        nothing = SimpleNamespace(open=lambda *_: None, read=lambda *_: None)
        stand_ins: dict[str, Any] = dict.fromkeys(("ImageStore", "LabelFile", "SemanticLabels"), nothing)
        stand_ins["build_training"] = lambda *_, **__: (None, None)
        stand_ins |= dict.fromkeys(WORK, work)
        for attribute in stand_ins.keys() & vars(module).keys():
            monkeypatch.setattr(module, attribute, stand_ins[attribute])
        option = "--run" if script.stem in ("train", "train_semantic", "predict_semantic") else "--name"
        monkeypatch.setattr(sys, "argv", [str(script), option, name])
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


@pytest.mark.parametrize(
    ("stage", "file"),
    [
        ("train@mean_teacher_4", "labels/masks_4/unlabelled.json"),
        ("train_distilled@guided_4", "labels/masks_4/unlabelled.json"),
        ("train_distilled@guided_4", "models/mask2former_4/seed-0/model.safetensors"),
        ("train_embeddings@of_points", "segments/fine/pack.json"),
        ("train_classifiers@spml_points", "models/of_points/seed-3/model.safetensors"),
        ("train_classifiers@spml_points", "labels/spread_points/labels.json"),
        ("spread_labels@spread_points", "labels/mine/labels.json"),
        ("spread_segment_labels@segment_points", "segments/fine/pack.json"),
        ("spread_cam_labels@spread_tags", "cams/plain/pack.json"),
        ("retrieved_labels@second_tags", "models/spml_tags/seed-0/model.safetensors"),
        ("retrieved_labels@second_tags", "models/of_tags/seed-3/model.safetensors"),
        ("retrieved_labels@second_tags", "labels/tags/labels.json"),
        ("predict_semantic@all_pixels", "models/all_pixels/seed-0/model.safetensors"),
    ],
)
def test_what_a_stage_learns_from_is_in_the_key(
    stage: str, file: str, repository: Path, key_of: KeyOf
) -> None:
    before, path = key_of(stage), repository / "data" / "demo" / file
    path.write_text("changed", encoding="utf-8")
    try:
        assert key_of(stage) != before
    finally:
        path.write_text("", encoding="utf-8")


def test_all_scripts_that_resume_are_tested(root: Path) -> None:
    resuming = {
        path.stem for path in (root / "stages").glob("*.py") if "layout.checkpoint(" in path.read_text()
    }
    kinds = {stage.split("@")[0] for stage in STAGES}
    assert resuming == {SCRIPTS.get(kind, kind) for kind in kinds}
