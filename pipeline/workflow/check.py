"""Everything that can be found wrong before anything runs."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from pipeline.errors import UserError
from pipeline.files import write_json
from pipeline.layout import Layout
from pipeline.params import Model, Params, Predict
from pipeline.params_file import load_params
from pipeline.workflow.dag import Dag, find_leaks, read_dag


def check(root: Path) -> Params:
    """Validate the repository, params.yaml, the user's data paths, the DAG and the networks.

    Writes checked.json, whose content never changes: stages that depend on it run after the check but are
    not run again because of it.  Raises UserError for the first thing that is wrong.
    """
    params = check_params(root)
    check_supervision(root, read_dag(root), params)
    check_networks(params)
    write_json(Layout(root, params.benchmark).data / "checked.json", {"checked": True})
    return params


def check_params(root: Path) -> Params:
    """Validate the repository, params.yaml and the user's data paths.  Raises UserError."""
    require_repository(root)
    params = load_params(root / "params.yaml")
    for key, path in params.sources.items():
        _check_path(root, key, path, file=key.endswith("json"))
    for name, cityscapes in params.import_cityscapes.items():
        for folder_of in (cityscapes.images, cityscapes.annotations):
            for part in ("train", "val"):
                _check_path(root, f"import_cityscapes.{name}.folder", folder_of(part), file=False)
    for name, segments in params.file_segments.items():
        contours = segments.contours
        _check_path(root, f"file_segments.{name}.contours.path", contours.path, file=contours.kind == "hed")
    for name, tags in params.own_tags.items():
        _check_path(root, f"own_tags.{name}.path", tags.path, file=True)
    for table in ("own_scribbles", "own_maps"):
        for name, own in getattr(params, table).items():
            _check_path(root, f"{table}.{name}.path", own.path, file=False)
    for name, split in params.split_lists.items():
        _check_path(root, f"split_lists.{name}.path", split.path, file=True)
    for name, start in params.weight_files.items():
        _check_path(root, f"weight_files.{name}.path", start.path, file=True)
    for name, sam in params.sam.items():
        _check_path(root, f"sam.{name}.weights", sam.weights, file=False)
    return params


def check_supervision(root: Path, dag: Dag, params: Params) -> None:
    """Raises UserError for a pipeline in which a run can reach masks beyond its labels."""
    leaks = find_leaks(dag, params)
    if leaks:
        raise UserError(root / "dvc.yaml", "", leaks[0], "a run must not depend on masks beyond its labels")


def check_networks(params: Params) -> None:
    """Build every network once, in seconds: one that cannot be built is told now and not hours later."""
    for name in sorted({run.model for run in params.trained.values()}):
        if params.models[name].backbone != "small":  # whose strides the params know
            _check_model(params.models[name], params.predict)
    _check_semantic_networks(params)


def require_repository(root: Path) -> None:
    """DVC works on a git repository only; an unpacked archive is none.  Raises UserError."""
    if not any((parent / ".git").exists() for parent in (root.resolve(), *root.resolve().parents)):
        raise UserError(
            root,
            "",
            "this folder is not a git repository, which DVC needs",
            "type: git init && git add -A && git commit -m 'Start'",
        )
    if not (root / ".dvc" / "config").exists():
        raise UserError(root, "", "the folder .dvc is missing", "type: dvc init -f && git checkout .dvc")


def _check_model(model: Model, predict: Predict) -> None:
    """Raises UserError for a backbone that does not fit."""
    from pipeline.models.build import build_network

    build_network(model, 1, predict)


def _check_semantic_networks(params: Params) -> None:
    """The same for networks of label maps, without memory for their weights: half of the time."""
    import torch

    from pipeline.models.boundary import build_boundary_network
    from pipeline.models.classifier import build_classifier
    from pipeline.models.pixel_embedding import build_pixel_embedding

    with torch.device("meta"):
        for cams in params.cams.values():
            build_classifier(cams.classifier, 1)
        for refined in params.refined_cams.values():
            build_boundary_network(refined.network)
        models = {row.model for row in params.embeddings.values()}
        for name in sorted(models | {row.model for row in params.semantic_runs.values()}):
            build_pixel_embedding(params.semantic_models[name])


def _check_path(root: Path, key: str, value: str, *, file: bool) -> None:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts:
        raise UserError(
            "params.yaml",
            key,
            f"{value!r} lies outside the repository",
            "link its folder into data/ (ln -s FOLDER data/NAME) and name it by that",
        )
    found = root / value
    if not found.exists():
        raise UserError(
            "params.yaml",
            key,
            f"{value!r} does not exist",
            "put it there, or link its folder: ln -s /path/to/your/folder data/NAME",
        )
    if found.is_dir() == file:
        kind = "a file" if file else "a folder"
        raise UserError("params.yaml", key, f"{value!r} is not {kind}")
