"""What the rows that train must say of the other sections of params.yaml, and of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.params.comparison import Distilled, Trained
from pipeline.params.methods import ARCHITECTURES
from pipeline.params.references import known
from pipeline.params.starts import WeightFile

if TYPE_CHECKING:
    from pipeline.params.sections import Params

TAUGHT = ("mean_teacher", "guided_distillation")  # methods whose runs hold a student and a teacher


def check_run(params: Params, key: str, run: Trained) -> None:
    """Raise ValueError unless all that the row names exists and fits; key: of the row, "runs.NAME"."""
    if key.endswith(".none"):
        raise ValueError("a run may not be called none: that word means no oracle")
    for name, table in (
        ("settings", params.methods),
        ("model", params.models),
        ("labels", {**params.labels, **params.partial, **params.pseudo_labels}),
        ("backbone", params.starts),
    ):
        known(f"{key}.{name}", getattr(run, name), table)
    if len(set(run.seeds)) != len(run.seeds):
        raise ValueError(f"{key}.seeds names a seed twice")
    if params.methods[run.settings].kind != run.method:
        raise ValueError(
            f"{key}.settings: {run.settings} configures"
            f" {params.methods[run.settings].kind}, and the run's method is {run.method}"
        )
    if (run.task == "masks_in_boxes") != (run.method == "mal"):
        raise ValueError(f"{key}.task: {run.method} does not do {run.task}")
    _check_oracle(params, key, run)
    _check_labels(params, key, run)
    _check_model(params, key, run)


def _check_oracle(params: Params, key: str, run: Trained) -> None:
    if run.oracle == "none":
        return
    known(f"{key}.oracle", run.oracle, params.trained)
    if "masks_in_boxes" in (run.task, params.trained[run.oracle].task):
        raise ValueError(f"{key}.oracle: retention compares AP, and masks in given boxes have none; use none")


def _check_labels(params: Params, key: str, run: Trained) -> None:
    if run.method in TAUGHT:
        if run.labels not in params.partial:
            raise ValueError(
                f"{key}.labels: {run.labels} has no list of images without labels, from which"
                f" {run.method} learns; name a row of splits or split_lists"
            )
        return
    if run.labels in {**params.partial, **params.pseudo_labels}:
        kind: str = "masks"
    else:
        kind = params.labels[run.labels].kind
        if params.labels[run.labels].split != "train":
            raise ValueError(f"{key}.labels: {run.labels} is of the val split; train on train")
    needed = "masks" if run.method == "supervised" else "boxes"
    if kind != needed:
        raise ValueError(f"{key}.labels: {run.labels} holds {kind}, and {run.method} trains on {needed}")


def _check_model(params: Params, key: str, run: Trained) -> None:
    model, start = params.models[run.model], params.starts[run.backbone]
    if model.architecture not in ARCHITECTURES[run.method]:
        raise ValueError(
            f"{key}.model: the architecture of {run.model} is {model.architecture},"
            f" and {run.method} trains {', '.join(ARCHITECTURES[run.method])}"
        )
    if isinstance(start, WeightFile):
        _check_whole(params, key, run, start)
    if model.backbone != start.architecture:
        raise ValueError(
            f"{key}.backbone: {run.backbone} is for {start.architecture},"
            f" and the model {run.model} has {model.backbone}"
        )


def _check_whole(params: Params, key: str, run: Trained, start: WeightFile) -> None:
    """What trained a whole network, a run that starts from it must be allowed to see."""
    if start.whole is None:
        return
    architecture, supervision = start.whole
    said = f"{key}.backbone: {run.backbone} holds a whole {start.content},"
    if params.models[run.model].architecture != architecture:
        raise ValueError(
            f"{said} and the architecture of {run.model} is {params.models[run.model].architecture}"
        )
    on_masks = params.supervision(run.labels) == "masks"
    if run.labels in params.partial or (supervision == "masks" and not on_masks):
        allowed = "the masks" if supervision == "masks" else "labels"
        raise ValueError(
            f"{said} which {supervision} have trained;"
            f" only a run on {allowed} of all images may start from it, and {run.labels} are not those"
        )


def check_teacher(params: Params, key: str, run: Distilled) -> None:
    """Raise ValueError unless the teacher is the same network and has seen the same masks and no more."""
    known(f"{key}.teacher", run.teacher, params.runs)
    teacher = params.runs[run.teacher]
    if teacher.method != "supervised":
        raise ValueError(
            f"{key}.teacher: {run.teacher} is trained by {teacher.method}; name a run of supervised"
        )
    for name in ("model", "labels", "backbone"):
        own, other = getattr(run, name), getattr(teacher, name)
        if own != other:
            raise ValueError(f"{key}.teacher: {run.teacher} has the {name} {other}, and this row {own}")
    if missing := sorted(set(run.seeds) - set(teacher.seeds)):
        raise ValueError(f"{key}.seeds: the teacher {run.teacher} has no seed {missing[0]}")
