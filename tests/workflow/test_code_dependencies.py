"""A stage runs again when code changes that decides its result."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

from pipeline.params import Params
from pipeline.params_file import load_params
from pipeline.workflow.dag import Dag, read_dag
from tests.workflow.repository import (
    add_sam,
    add_semantic,
    add_split_list,
    add_weight_file,
    copy_pipeline,
    import_from,
)

# Code that checks, names, stores, carries and reports, but decides no result.  `params.yaml` itself is
# tracked by key.
PLUMBING = (
    "pipeline/csv_text.py",
    "pipeline/data/findings.py",
    "pipeline/data/user_json.py",
    "pipeline/data/values.py",
    "pipeline/engine/cluster.py",
    "pipeline/engine/progress.py",
    "pipeline/errors.py",
    "pipeline/files.py",
    "pipeline/layout.py",
    "pipeline/params",
    "pipeline/params_file.py",
    "pipeline/workflow",
    "pipeline/report/cost.py",
    "pipeline/report/curves.py",
    "pipeline/report/data.py",
    "pipeline/report/semantic_data.py",
)
METHODS = ("supervised", "boxinst", "box_teacher", "mal", "mean_teacher", "guided_distillation")


def methods_but(*own: str) -> tuple[str, ...]:
    """Folders of the methods that a stage does not run."""
    return tuple(f"pipeline/methods/{name}" for name in METHODS if name not in own)


# Imported for one function, or by the table of methods, without being run.
NOT_RUN = {
    "generate": (
        "pipeline/data/cityscapes.py",
        "pipeline/data/coco.py",
        "pipeline/data/coco_annotations.py",
        "pipeline/data/coco_images.py",
        "pipeline/data/lvis.py",
        "pipeline/engine/parallel.py",
    ),
    "backbones": (
        "pipeline/data/cityscapes.py",
        "pipeline/data/coco.py",
        "pipeline/data/coco_annotations.py",
        "pipeline/data/coco_images.py",
        "pipeline/data/lvis.py",
        "pipeline/data/colors.py",
        "pipeline/data/images.py",
        "pipeline/data/masks.py",
        "pipeline/data/pixels.py",
        "pipeline/data/prepare.py",
        "pipeline/models/bottlenecks.py",
        "pipeline/models/detectron2.py",
        "pipeline/models/freezing.py",
        "pipeline/models/frozen_batchnorm.py",
    ),
    "train": ("pipeline/labels/weak.py",),
    "pseudo_labels": (
        "pipeline/data/colors.py",
        "pipeline/data/transforms.py",
        "pipeline/labels/unlabelled.py",
        *methods_but("mal"),
        "pipeline/methods/box_supervision",
        "pipeline/methods/detection",
        "pipeline/methods/mask2former",
        "pipeline/methods/color.py",
        "pipeline/methods/dice.py",
    ),
    "separation": (
        "pipeline/data/colors.py",
        "pipeline/data/transforms.py",
        "pipeline/labels/unlabelled.py",
        "pipeline/labels/weak.py",
        *methods_but("mal"),
        "pipeline/methods/box_supervision",
        "pipeline/methods/detection",
        "pipeline/methods/mask2former",
        "pipeline/methods/color.py",
        "pipeline/methods/dice.py",
    ),
    "predict": (
        "pipeline/data/colors.py",
        "pipeline/labels/box_source.py",
        "pipeline/labels/json_stream.py",
        "pipeline/labels/pseudo.py",
        "pipeline/labels/shards.py",
        "pipeline/labels/unlabelled.py",
        "pipeline/labels/weak.py",
        "pipeline/methods/box_supervision",
        "pipeline/methods/color.py",
        "pipeline/methods/dice.py",
    ),
    "report": ("pipeline/data/masks.py",),
}
NOT_RUN["sam"] = (
    "pipeline/methods/mal/pseudo_masks.py",
    "pipeline/methods/mal/rois.py",
    "pipeline/priors/crf",
)
NOT_RUN["pseudo_mask_quality"] = ("pipeline/data/colors.py",)
NOT_RUN["import_coco"] = ("pipeline/data/cityscapes.py",)
NOT_RUN["import_cityscapes"] = ("pipeline/data/coco_annotations.py", "pipeline/data/lvis.py")
NOT_RUN["train_distilled"] = (
    *NOT_RUN["train"],
    "pipeline/methods/box_supervision",
    "pipeline/methods/color.py",
)
NOT_RUN["predict_distilled"] = (*NOT_RUN["predict"], "pipeline/priors/crf")
NOT_RUN["weight_files"] = NOT_RUN["backbones"]


NOT_RUN["import_voc"] = (
    "pipeline/data/cityscapes.py",
    "pipeline/data/densepose.py",
    "pipeline/data/map_folder.py",
    "pipeline/labels/json_stream.py",
)
NOT_RUN["import_voc_sbd"] = NOT_RUN["import_voc"]
NOT_RUN["import_maps"] = (*NOT_RUN["import_voc"], "pipeline/data/voc.py")
NOT_RUN["import_densepose"] = (
    "pipeline/data/cityscapes.py",
    "pipeline/data/map_folder.py",
    "pipeline/data/voc.py",
)
NOT_RUN["own_scribbles"] = (
    "pipeline/data/coco.py",
    "pipeline/data/coco_annotations.py",
    "pipeline/data/coco_images.py",
    "pipeline/data/lvis.py",
    "pipeline/labels/clicks.py",
    "pipeline/labels/weak.py",
)
NOT_RUN["own_maps"] = NOT_RUN["own_scribbles"]
NOT_RUN["own_tags"] = (
    "pipeline/labels/clicks.py",
    "pipeline/labels/partial_maps.py",
    "pipeline/labels/regions.py",
    "pipeline/labels/semantic_maps.py",
    "pipeline/labels/strokes.py",
    "pipeline/labels/weak.py",
)
NOT_RUN["segments"] = (
    "pipeline/distributed.py",
    "pipeline/engine/environment.py",
    "pipeline/engine/lock.py",
    "pipeline/models/backbones.py",
    "pipeline/models/bottlenecks.py",
    "pipeline/models/freezing.py",
    "pipeline/models/frozen_batchnorm.py",
    "pipeline/models/small_backbone.py",
    "pipeline/models/vit.py",
    "pipeline/weights.py",
)
NOT_RUN["file_segments"] = NOT_RUN["segments"]
NOT_RUN["train_cams"] = (
    "pipeline/data/colors.py",
    "pipeline/data/masks.py",
    "pipeline/data/transforms.py",
    "pipeline/labels/label_file.py",
    "pipeline/labels/weak.py",
)
NOT_RUN["cams"] = NOT_RUN["refined_cams"] = NOT_RUN["train_cams"]
NOT_RUN["tag_cam_labels"] = (
    "pipeline/data/masks.py",
    "pipeline/data/pack_writer.py",
    "pipeline/data/pixels.py",
    "pipeline/labels/shards.py",
    "pipeline/labels/weak.py",
    "pipeline/structures.py",
)
NOT_RUN["box_cam_labels"] = NOT_RUN["tag_cam_labels"]
NOT_RUN["grown_labels"] = (
    "pipeline/data/masks.py",
    "pipeline/labels/clicks.py",
    "pipeline/labels/label_file.py",
    "pipeline/labels/partial_maps.py",
    "pipeline/labels/regions.py",
    "pipeline/labels/semantic_maps.py",
    "pipeline/labels/strokes.py",
    "pipeline/labels/weak.py",
    "pipeline/structures.py",
)
NOT_RUN["train_embeddings"] = (
    *NOT_RUN["train_cams"],
    "pipeline/data/pack_writer.py",
    "pipeline/labels/shards.py",
    "pipeline/priors/crf",
)
NOT_RUN["train_classifiers"] = NOT_RUN["train_semantic"] = NOT_RUN["train_embeddings"]
NOT_RUN["spread_labels"] = NOT_RUN["spread_cam_labels"] = NOT_RUN["train_cams"]
NOT_RUN["spread_segment_labels"] = NOT_RUN["retrieved_labels"] = NOT_RUN["train_cams"]
NOT_RUN["predict_classifiers"] = NOT_RUN["predict_semantic"] = NOT_RUN["train_cams"]
FOLDER_OF_MAPS = (
    "{folder: data/streets, train_list: a, val_list: b, classes: [road], background: false, ignore: [],"
    " processes: 1}"
)


@pytest.fixture(scope="module")
def repository(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo with a row in each table that it leaves empty, so that every kind of stage is there."""
    folder = copy_pipeline(root, tmp_path_factory.mktemp("repository"))
    add_weight_file(folder, "data/own.safetensors")
    add_sam(folder, "data/sam")
    add_split_list(folder, "masks_listed", "data/list.txt")
    add_semantic(folder)
    return folder


@pytest.fixture(scope="module")
def params(repository: Path) -> Params:
    return load_params(repository / "params.yaml")


@pytest.fixture(scope="module")
def dag(repository: Path) -> Dag:
    return read_dag(repository)


@functools.cache  # a module is imported by many stages, and parsing it is what takes the time
def imported(file: Path, root: Path) -> frozenset[Path]:
    """Modules of the project that a file imports anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pipeline"):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    modules = {root / f"{name.replace('.', '/')}.py" for name in names}
    return frozenset(module for module in modules if module.exists())


def code_of(script: Path, root: Path) -> set[str]:
    """The script and all modules of the project that it imports, directly or not."""
    found, waiting = {script}, [script]
    while waiting:
        for module in imported(waiting.pop(), root):
            if module not in found:
                found.add(module)
                waiting.append(module)
    return {path.relative_to(root).as_posix() for path in found}


def covered(path: str, by: tuple[str, ...]) -> bool:
    return any(path == dep or path.startswith(f"{dep}/") for dep in by)


def test_stages_depend_on_the_code_they_run(root: Path, dag: Dag, params: Params) -> None:
    missing = {}
    for stage in dag.values():
        kind, _, name = stage.name.partition("@")
        scripts = [root / dep for dep in stage.deps if dep.startswith("stages/")]
        exempt = (*PLUMBING, *NOT_RUN.get(kind, ()))
        if kind in ("train", "predict"):
            exempt += methods_but(params.runs[name].method)
        if kind in ("train_distilled", "predict_distilled"):
            exempt += methods_but(params.distilled[name].method, "mean_teacher")
        for script in scripts:
            code = {path for path in code_of(script, root) if not covered(path, (*stage.deps, *exempt))}
            if code:
                missing[stage.name] = sorted(code)
    assert missing == {}


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("import_coco", "{train_json: a, train_images: b, val_json: c, val_images: d, processes: 1}"),
        ("import_cityscapes", "{folder: data/streets, processes: 1}"),
        ("import_voc", "{folder: data/voc, processes: 1}"),
        ("import_voc_sbd", "{folder: data/voc, extra: data/sbd, processes: 1}"),
        ("import_maps", FOLDER_OF_MAPS),
        ("import_densepose", "{train_json: a, train_images: b, val_json: c, val_images: d, processes: 1}"),
    ],
)
def test_imports_depend_on_the_code_they_run(root: Path, tmp_path: Path, table: str, row: str) -> None:
    import_from(copy_pipeline(root, tmp_path), table, row)
    stage = read_dag(tmp_path)[f"{table}@mine"]
    by = (*stage.deps, *PLUMBING, *NOT_RUN[table])
    script = next(root / dep for dep in stage.deps if dep.startswith("stages/"))
    assert [path for path in code_of(script, root) if not covered(path, by)] == []


def test_exceptions_still_exist(root: Path) -> None:
    for path in (*PLUMBING, *methods_but(), *(path for paths in NOT_RUN.values() for path in paths)):
        assert (root / path).exists(), path
