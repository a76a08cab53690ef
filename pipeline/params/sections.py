"""All of params.yaml, and what its sections must say of each other."""

from __future__ import annotations

from itertools import combinations
from typing import Any, Literal

from pydantic import model_validator

from pipeline.params.base import Name, Section
from pipeline.params.comparison import (
    Baseline,
    Classical,
    Evaluate,
    Predict,
    PseudoLabels,
    Report,
    Run,
    Sam,
)
from pipeline.params.data import CityscapesFolder, CocoFolder, Labels, Shapes, Split, SplitList
from pipeline.params.methods import ARCHITECTURES, Method
from pipeline.params.networks import Model
from pipeline.params.starts import Backbone, Start, WeightFile


class Params(Section):
    """All of params.yaml."""

    benchmark: Name
    generate: dict[Name, Shapes]
    import_coco: dict[Name, CocoFolder]
    import_cityscapes: dict[Name, CityscapesFolder]
    labels: dict[Name, Labels]
    splits: dict[Name, Split]
    split_lists: dict[Name, SplitList]
    backbones: dict[Name, Backbone]
    weight_files: dict[Name, WeightFile]
    models: dict[Name, Model]
    methods: dict[Name, Method]
    pseudo_labels: dict[Name, PseudoLabels]
    runs: dict[Name, Run]
    baselines: dict[Name, Classical]
    sam: dict[Name, Sam]
    predict: Predict
    separation: tuple[Name, ...]  # labelers whose encoders are scored on val by Eq. 6 of the MAL paper
    evaluate: Evaluate
    report: Report

    @model_validator(mode="after")
    def _references(self) -> Params:
        """Every name that a row mentions must exist, and rows that are compared must fit."""
        if len(self.datasets) != 1:
            raise ValueError(
                "generate, import_coco and import_cityscapes must have exactly one entry in total"
            )
        for name, coco in self.import_coco.items():
            for key in ("train_json", "train_images", "val_json", "val_images"):
                self._check_source(f"import_coco.{name}.{key}", getattr(coco, key))
        for name, cityscapes in self.import_cityscapes.items():
            self._check_source(f"import_cityscapes.{name}.folder", cityscapes.folder)
        if self.labels.get("val_boxes") != Labels(kind="boxes", split="val"):
            raise ValueError("labels.val_boxes must be {kind: boxes, split: val}: all runs predict in those")
        self._check_names("backbones", "weight_files")
        self._check_names("labels", "splits", "split_lists", "pseudo_labels")
        self._check_names("runs", "baselines", "sam")
        for name, run in self.runs.items():
            self._check_run(name, run)
        for name, pseudo in self.pseudo_labels.items():
            self._check_pseudo_labels(name, pseudo)
        for name, classical in self.baselines.items():
            self._check_baseline(f"baselines.{name}", classical)
        for name, sam in self.sam.items():
            self._check_baseline(f"sam.{name}", sam)
        self._check_separation()
        return self

    @property
    def datasets(self) -> list[tuple[str, Shapes | CocoFolder | CityscapesFolder]]:
        """All rows of datasets with their names; one, in valid params."""
        tables = (self.generate, self.import_coco, self.import_cityscapes)
        return [(name, row) for table in tables for name, row in table.items()]

    @property
    def starts(self) -> dict[str, Start]:
        """All that runs name as their backbone."""
        return {**self.backbones, **self.weight_files}

    @property
    def partial(self) -> dict[str, Split | SplitList]:
        """All label sets with the masks of a part of the training images."""
        return {**self.splits, **self.split_lists}

    @property
    def untrained(self) -> dict[str, Baseline]:
        """All rows of the comparison beside the runs, in the order of params.yaml."""
        return {**self.baselines, **self.sam}

    def supervision(self, labels: str) -> Literal["boxes", "masks"]:
        """What people drew for a label set: pseudo-labels cost what the boxes cost that they are made for."""
        if labels in self.pseudo_labels:
            return self.labels[self.pseudo_labels[labels].labels].kind
        return "masks" if labels in self.partial else self.labels[labels].kind

    def _check_source(self, key: str, path: str) -> None:
        derived = f"data/{self.benchmark}"
        if f"{path}/".startswith(f"{derived}/"):
            raise ValueError(
                f"{key} lies in {derived}, where the benchmark's results go;"
                " give the benchmark another name than the data's folder"
            )

    def _check_names(self, *tables: str) -> None:
        """Rows of these tables write to the same folders."""
        for one, other in combinations(tables, 2):
            for name in sorted(getattr(self, one).keys() & getattr(self, other).keys()):
                raise ValueError(f"{name} is both in {one} and in {other}; rename one")

    def _check_run(self, name: str, run: Run) -> None:
        if name == "none":
            raise ValueError("a run may not be called none: that word means no oracle")
        for key, table in (
            ("settings", self.methods),
            ("model", self.models),
            ("labels", {**self.labels, **self.partial, **self.pseudo_labels}),
            ("backbone", self.starts),
        ):
            _known(f"runs.{name}.{key}", getattr(run, key), table)
        if len(set(run.seeds)) != len(run.seeds):
            raise ValueError(f"runs.{name}.seeds names a seed twice")
        if self.methods[run.settings].kind != run.method:
            raise ValueError(
                f"runs.{name}.settings: {run.settings} configures"
                f" {self.methods[run.settings].kind}, and the run's method is {run.method}"
            )
        if (run.task == "masks_in_boxes") != (run.method == "mal"):
            raise ValueError(f"runs.{name}.task: {run.method} does not do {run.task}")
        self._check_oracle(name, run)
        self._check_labels(name, run)
        self._check_model(name, run)

    def _check_oracle(self, name: str, run: Run) -> None:
        if run.oracle == "none":
            return
        _known(f"runs.{name}.oracle", run.oracle, self.runs)
        if "masks_in_boxes" in (run.task, self.runs[run.oracle].task):
            raise ValueError(
                f"runs.{name}.oracle: retention compares AP, and masks in given boxes have none; use none"
            )

    def _check_labels(self, name: str, run: Run) -> None:
        if run.labels in {**self.partial, **self.pseudo_labels}:
            kind: str = "masks"
        else:
            kind = self.labels[run.labels].kind
            if self.labels[run.labels].split != "train":
                raise ValueError(f"runs.{name}.labels: {run.labels} is of the val split; train on train")
        needed = {"supervised": "masks", "boxinst": "boxes", "mal": "boxes"}[run.method]
        if kind != needed:
            raise ValueError(
                f"runs.{name}.labels: {run.labels} holds {kind}, and {run.method} trains on {needed}"
            )

    def _check_model(self, name: str, run: Run) -> None:
        model, start = self.models[run.model], self.starts[run.backbone]
        if model.architecture not in ARCHITECTURES[run.method]:
            raise ValueError(
                f"runs.{name}.model: the architecture of {run.model} is {model.architecture},"
                f" and {run.method} trains {', '.join(ARCHITECTURES[run.method])}"
            )
        if isinstance(start, WeightFile) and start.content not in ("backbone", model.architecture):
            raise ValueError(
                f"runs.{name}.backbone: {run.backbone} holds a whole {start.content},"
                f" and the architecture of {run.model} is {model.architecture}"
            )
        if model.backbone != start.architecture:
            raise ValueError(
                f"runs.{name}.backbone: {run.backbone} is for {start.architecture},"
                f" and the model {run.model} has {model.backbone}"
            )

    def _check_baseline(self, key: str, row: Baseline) -> None:
        _known(f"{key}.detections", row.detections, self.runs)
        if self.runs[row.detections].task != "instances":
            raise ValueError(
                f"{key}.detections: {row.detections} gives masks to given boxes and detects none"
            )
        if row.oracle != "none":
            _known(f"{key}.oracle", row.oracle, self.runs)

    def _check_separation(self) -> None:
        for name in self.separation:
            _known("separation", name, self.runs)
            if self.runs[name].task != "masks_in_boxes":
                raise ValueError(
                    f"separation: the task of {name} is {self.runs[name].task}, and the score is of the"
                    " encoders of labelers, whose task is masks_in_boxes"
                )
        if len(set(self.separation)) != len(self.separation):
            raise ValueError("separation names a run twice")

    def _check_pseudo_labels(self, name: str, pseudo: PseudoLabels) -> None:
        _known(f"pseudo_labels.{name}.labeler", pseudo.labeler, self.runs)
        _known(f"pseudo_labels.{name}.labels", pseudo.labels, self.labels)
        run, labels = self.runs[pseudo.labeler], self.labels[pseudo.labels]
        if run.task != "masks_in_boxes":
            raise ValueError(
                f"pseudo_labels.{name}.labeler: the task of {pseudo.labeler} is {run.task},"
                " and a labeler's is masks_in_boxes"
            )
        if pseudo.seed not in run.seeds:
            raise ValueError(
                f"pseudo_labels.{name}.seed: {pseudo.labeler} has the seeds"
                f" {', '.join(map(str, run.seeds))}, not {pseudo.seed}"
            )
        if labels.split != "train" or labels.kind != "boxes":
            raise ValueError(
                f"pseudo_labels.{name}.labels: {pseudo.labels} holds {labels.kind} of {labels.split};"
                " masks are made for the boxes of train"
            )


def _known(key: str, value: str, table: dict[str, Any]) -> None:
    if value not in table:
        raise ValueError(f"{key}: {value!r} is not defined; defined are {', '.join(sorted(table)) or 'none'}")
