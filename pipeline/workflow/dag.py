"""The DVC graph as plain data, and the proof that supervision does not leak."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pipeline.errors import UserError
from pipeline.params import DATASETS, LABEL_TABLES, SPREAD_TABLES, Params
from pipeline.params.semantic_rows import label_sources

if TYPE_CHECKING:
    from dvc.stage import PipelineStage

# Stages that read masks and hand on something without: images alone, or boxes alone.
_IMAGE_SOURCES = tuple(f"{table}@" for table in DATASETS)

# Tables whose stages make label sets of the semantic task from all that is known of the images.
_FROM_MASKS = ("labels", "weak_labels", "own_tags", "own_scribbles", "own_maps")

_WITHOUT_SHAPES = ("tags", "boxes")  # kinds of weak labels


@dataclass(frozen=True)
class Stage:
    """One stage of dvc.yaml with its files relative to the repository, in POSIX form."""

    name: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]


Dag = dict[str, Stage]


def read_dag(root: Path) -> Dag:
    """Resolve dvc.yaml with params.yaml.  Raises UserError when DVC refuses it."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import SCMError

    try:
        with Repo(str(root)) as repo:
            return to_dag(root, repo.index.stages)
    except (DvcException, SCMError) as error:
        raise UserError(root / "dvc.yaml", "", f"DVC refuses the pipeline: {error}") from None


def to_dag(root: Path, stages: Iterable[PipelineStage]) -> Dag:
    """DVC's stages as plain data."""
    return {
        stage.name: Stage(
            stage.name,
            tuple(_relative(root, dep.fs_path) for dep in stage.deps if not _is_params(dep)),
            tuple(_relative(root, out.fs_path) for out in stage.outs),
        )
        for stage in stages
    }


def _is_params(dep: object) -> bool:
    return type(dep).__name__ == "ParamsDependency"


def _relative(root: Path, path: str) -> str:
    return PurePosixPath(os.path.relpath(path, root)).as_posix()


def producers(dag: Dag, path: str) -> Iterator[Stage]:
    """Stages whose outputs are `path`, lie in it, or hold it."""
    for stage in dag.values():
        if any(overlap(path, out) for out in stage.outs):
            yield stage


def overlap(a: str, b: str) -> bool:
    """Whether two paths are the same or one contains the other."""
    return a == b or a.startswith(f"{b}/") or b.startswith(f"{a}/")


def dependencies(dag: Dag) -> dict[str, set[str]]:
    """Stage name -> names of the stages that must run before it."""
    return {
        name: {producer.name for dep in stage.deps for producer in producers(dag, dep)} - {name}
        for name, stage in dag.items()
    }


def mask_files(params: Params) -> set[str]:
    """Every file or folder that holds masks, or a whole network that masks have trained."""
    data = f"data/{params.benchmark}"
    files = {f"{data}/prepared/annotations"}
    if params.paint or params.semantic_datasets:
        files.add(f"{data}/semantic")
    files |= {f"{data}/labels/{name}" for name, labels in params.labels.items() if labels.kind == "masks"}
    files |= {f"{data}/labels/{name}" for name in params.partial}
    files |= {
        row.path
        for row in params.weight_files.values()
        if row.whole is not None and row.whole.supervision == "masks"
    }
    files |= {
        f"{data}/labels/{name}" for name, row in params.weak_labels.items() if row.kind not in _WITHOUT_SHAPES
    }
    files |= {f"{data}/labels/{name}" for name in params.own_labels}
    files |= {row.path for row in params.own_labels.values()}
    files |= {path for key, path in params.sources.items() if key.endswith("_json")}
    # As wholes: nobody says which of their folders hold maps.
    files |= {voc.folder for voc in params.import_voc.values()}
    files |= {voc.folder for voc in params.import_voc_sbd.values()}
    files |= {maps.folder for maps in params.import_maps.values()}
    files |= {row.extra for row in params.import_voc_sbd.values()}
    for cityscapes in params.import_cityscapes.values():
        files |= {cityscapes.annotations(split) for split in ("train", "val")}
    return files


def semantic_stages(params: Params) -> dict[str, set[str]]:
    """Stages that must see some label sets of the semantic task alone -> the names of those."""
    stages: dict[str, set[str]] = {}
    for name, maps in params.cams.items():
        stages |= {f"train_cams@{name}": {maps.labels}, f"cams@{name}": {maps.labels}}
    for name, refined in params.refined_cams.items():
        stages[f"refined_cams@{name}"] = {refined.labels}
    for name, of_tags in params.tag_cam_labels.items():
        stages[f"tag_cam_labels@{name}"] = {of_tags.labels}
    for name, of_boxes in params.box_cam_labels.items():
        stages[f"box_cam_labels@{name}"] = {of_boxes.labels, of_boxes.boxes}
    for name, grown in params.grown_labels.items():
        stages[f"grown_labels@{name}"] = label_sources(params, grown.labels)
    for name, embedding in params.embeddings.items():
        stages[f"train_embeddings@{name}"] = label_sources(params, embedding.labels)
    for table in SPREAD_TABLES:
        for name in getattr(params, table):
            stages[f"{table}@{name}"] = label_sources(params, name) - {name}
    for name, run in params.semantic_trained.items():
        kind = "classifiers" if name in params.classifiers else "semantic"
        names = label_sources(params, run.labels)
        stages |= {f"train_{kind}@{name}": names, f"predict_{kind}@{name}": names}
    return stages


def find_leaks(dag: Dag, params: Params) -> list[str]:
    """Ways in which a run or a label set could reach masks that it must not see; empty without any.

    Supervision by boxes must reach no masks at all; by masks of a part of the images, those of its own label
    set alone, not even another part; by label sets of the semantic task, those alone.  Walks back from each
    training and prediction stage, and each labelling, over every file.  The walk ends at stages that turn
    masks into what may be seen (`labels@` of another kind than masks; `splits@`, `weak_labels@` and what
    people drew, of the own label set) or that pack images.
    """
    masks = mask_files(params)
    gates = {f"labels@{name}" for name, labels in params.labels.items() if labels.kind != "masks"}
    leaks = []
    for run, row in params.trained.items():
        table = "_distilled" if run in params.distilled else ""
        starts = (f"train{table}@{run}", f"predict{table}@{run}")
        if row.labels in params.partial:
            others = masks - {f"data/{params.benchmark}/labels/{row.labels}"}
            own = {f"splits@{row.labels}", f"split_lists@{row.labels}"}
            leaks += [leak for start in starts for leak in _walk(dag, start, others, gates | own)]
        elif params.supervision(row.labels) != "masks":
            leaks += [leak for start in starts for leak in _walk(dag, start, masks, gates)]
    for name in params.pseudo_labels:
        if params.supervision(name) != "masks":
            leaks += _walk(dag, f"pseudo_labels@{name}", masks, gates)
    folder = f"data/{params.benchmark}/labels"
    sets = {f"{folder}/{name}" for table in LABEL_TABLES for name in getattr(params, table)}
    for start, names in semantic_stages(params).items():
        hidden = (masks | sets) - {f"{folder}/{name}" for name in names}
        sources = {f"{table}@{name}" for table in _FROM_MASKS for name in names}
        leaks += _walk(dag, start, hidden, sources, "labels that are not its own")
    return leaks


def _walk(dag: Dag, start: str, masks: set[str], gates: set[str], what: str = "masks") -> list[str]:
    leaks, seen, todo = [], {start}, [(start, start)]
    while todo:
        name, way = todo.pop()
        for dep in dag[name].deps:
            if any(overlap(dep, mask) for mask in masks):
                leaks.append(f"{start} can read {what}: {way} depends on {dep}")
                continue
            for stage in producers(dag, dep):
                if stage.name in gates or stage.name.startswith(_IMAGE_SOURCES) or stage.name in seen:
                    continue
                seen.add(stage.name)
                todo.append((stage.name, f"{way} <- {stage.name}"))
    return leaks
