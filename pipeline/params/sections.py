"""All of params.yaml, and what its sections must say of each other."""

from __future__ import annotations

from itertools import combinations
from typing import Literal

from pydantic import model_validator

from pipeline.params.base import Name, Section
from pipeline.params.cams import BoxCamLabels, Cams, RefinedCams, TagCamLabels
from pipeline.params.comparison import (
    Baseline,
    Classical,
    Distilled,
    Evaluate,
    Predict,
    PseudoLabels,
    Report,
    Run,
    Sam,
    Trained,
)
from pipeline.params.data import CityscapesFolder, CocoFolder, Labels, Shapes, Split, SplitList
from pipeline.params.executor import Executor
from pipeline.params.methods import Method
from pipeline.params.networks import Model
from pipeline.params.references import known
from pipeline.params.runs import TAUGHT, check_run, check_teacher
from pipeline.params.segments import BuiltInSegments, FileSegments, Segments
from pipeline.params.semantic_data import DensePoseFolder, MapFolder, VocFolder, VocSbdFolder
from pipeline.params.semantic_evaluation import EvaluateSemantic
from pipeline.params.semantic_labels import (
    GrownLabels,
    Paint,
    PartialMapFolder,
    ScribbleFolder,
    TagFile,
    WeakLabels,
)
from pipeline.params.semantic_networks import PixelEmbedding
from pipeline.params.semantic_rows import check_semantic_rows
from pipeline.params.semantic_runs import (
    ClassifierRun,
    Embedding,
    RetrievedLabels,
    SemanticMethod,
    SemanticPredict,
    SemanticRun,
    SpreadCamLabels,
    SpreadLabels,
    SpreadRow,
    SpreadSegmentLabels,
)
from pipeline.params.starts import Backbone, Start, WeightFile

Dataset = Shapes | CocoFolder | CityscapesFolder | VocFolder | VocSbdFolder | MapFolder | DensePoseFolder
WITH_MAPS = ("import_voc", "import_voc_sbd", "import_maps", "import_densepose")
DATASETS = ("generate", "import_coco", "import_cityscapes", *WITH_MAPS)  # tables
SOURCE_KEYS = ("train_json", "train_images", "val_json", "val_images", "folder", "extra")
SPREAD_TABLES = ("spread_labels", "spread_segment_labels", "spread_cam_labels", "retrieved_labels")
LABEL_TABLES = (  # whose rows are folders of labels/
    "labels",
    "splits",
    "split_lists",
    "pseudo_labels",
    "weak_labels",
    "own_tags",
    "own_scribbles",
    "own_maps",
    "tag_cam_labels",
    "box_cam_labels",
    "grown_labels",
    *SPREAD_TABLES,
)
TEACHER = ".teacher"  # ends the name of a row that shows a run's teacher; no name of a run has a dot


class Params(Section):
    """All of params.yaml."""

    benchmark: Name
    generate: dict[Name, Shapes]
    import_coco: dict[Name, CocoFolder]
    import_cityscapes: dict[Name, CityscapesFolder]
    import_voc: dict[Name, VocFolder]
    import_voc_sbd: dict[Name, VocSbdFolder]
    import_maps: dict[Name, MapFolder]
    import_densepose: dict[Name, DensePoseFolder]
    paint: dict[Name, Paint]
    labels: dict[Name, Labels]
    splits: dict[Name, Split]
    split_lists: dict[Name, SplitList]
    weak_labels: dict[Name, WeakLabels]
    own_tags: dict[Name, TagFile]
    own_scribbles: dict[Name, ScribbleFolder]
    own_maps: dict[Name, PartialMapFolder]
    backbones: dict[Name, Backbone]
    weight_files: dict[Name, WeightFile]
    segments: dict[Name, BuiltInSegments]
    file_segments: dict[Name, FileSegments]
    cams: dict[Name, Cams]
    refined_cams: dict[Name, RefinedCams]
    tag_cam_labels: dict[Name, TagCamLabels]
    box_cam_labels: dict[Name, BoxCamLabels]
    grown_labels: dict[Name, GrownLabels]
    scored_labels: tuple[Name, ...]  # label sets that are scored on the label maps of train
    semantic_models: dict[Name, PixelEmbedding]
    semantic_methods: dict[Name, SemanticMethod]
    embeddings: dict[Name, Embedding]
    spread_labels: dict[Name, SpreadLabels]
    spread_segment_labels: dict[Name, SpreadSegmentLabels]
    spread_cam_labels: dict[Name, SpreadCamLabels]
    retrieved_labels: dict[Name, RetrievedLabels]
    classifiers: dict[Name, ClassifierRun]
    semantic_runs: dict[Name, SemanticRun]
    semantic_predict: dict[Name, SemanticPredict]
    semantic_evaluate: EvaluateSemantic
    models: dict[Name, Model]
    methods: dict[Name, Method]
    pseudo_labels: dict[Name, PseudoLabels]
    runs: dict[Name, Run]
    distilled: dict[Name, Distilled]
    baselines: dict[Name, Classical]
    sam: dict[Name, Sam]
    predict: Predict
    separation: tuple[Name, ...]  # labelers whose encoders are scored on val by Eq. 6 of the MAL paper
    pseudo_mask_quality: tuple[Name, ...]  # runs whose teachers' masks are compared with those of train
    evaluate: Evaluate
    executor: Executor
    report: Report

    @model_validator(mode="after")
    def _references(self) -> Params:
        """Every name that a row mentions must exist, and rows that are compared must fit."""
        if len(self.datasets) != 1:
            raise ValueError(f"{', '.join(DATASETS)} must have exactly one entry in total")
        for key, path in self.sources.items():
            self._check_source(key, path)
        if self.labels.get("val_boxes") != Labels(kind="boxes", split="val"):
            raise ValueError("labels.val_boxes must be {kind: boxes, split: val}: all runs predict in those")
        self._check_names("backbones", "weight_files")
        self._check_names(*LABEL_TABLES)
        self._check_names("segments", "file_segments")
        self._check_names("cams", "refined_cams")
        self._check_names(
            "runs", "distilled", "baselines", "sam", "embeddings", "classifiers", "semantic_runs"
        )
        for name, run in self.runs.items():
            check_run(self, f"runs.{name}", run)
        for name, distilled in self.distilled.items():
            check_run(self, f"distilled.{name}", distilled)
            check_teacher(self, f"distilled.{name}", distilled)
        for name, pseudo in self.pseudo_labels.items():
            self._check_pseudo_labels(name, pseudo)
        for name, classical in self.baselines.items():
            self._check_baseline(f"baselines.{name}", classical)
        for name, sam in self.sam.items():
            self._check_baseline(f"sam.{name}", sam)
        self._check_separation()
        self._check_pseudo_mask_quality()
        self._check_models_of_oracles()
        check_semantic_rows(self)
        return self

    @property
    def datasets(self) -> list[tuple[str, Dataset]]:
        """All rows of datasets with their names; one, in valid params."""
        return [(name, row) for table in DATASETS for name, row in getattr(self, table).items()]

    @property
    def semantic_datasets(self) -> list[str]:
        """The row whose dataset has label maps of its own, as TABLE.NAME, if it has."""
        return [f"{table}.{name}" for table in WITH_MAPS for name in getattr(self, table)]

    @property
    def sources(self) -> dict[str, str]:
        """Key -> path of what a dataset is read from, files and folders of the user."""
        return {
            f"{table}.{name}.{key}": getattr(row, key)
            for table in DATASETS
            for name, row in getattr(self, table).items()
            for key in SOURCE_KEYS
            if key in type(row).model_fields
        }

    @property
    def starts(self) -> dict[str, Start]:
        """All that runs name as their backbone."""
        return {**self.backbones, **self.weight_files}

    @property
    def own_labels(self) -> dict[str, ScribbleFolder | PartialMapFolder]:
        """All label sets of strokes and partial label maps that a user has."""
        return {**self.own_scribbles, **self.own_maps}

    @property
    def all_segments(self) -> dict[str, Segments]:
        """All over-segmentations."""
        return {**self.segments, **self.file_segments}

    @property
    def all_cams(self) -> dict[str, Cams | RefinedCams]:
        """All sets of class activation maps."""
        return {**self.cams, **self.refined_cams}

    @property
    def cam_labels(self) -> dict[str, TagCamLabels | BoxCamLabels]:
        """All label sets made of such maps."""
        return {**self.tag_cam_labels, **self.box_cam_labels}

    @property
    def spread(self) -> dict[str, SpreadRow]:
        """All label sets that an embedding spreads."""
        return {name: row for table in SPREAD_TABLES for name, row in getattr(self, table).items()}

    def spread_table(self, name: str) -> str:
        """The table of a label set that an embedding spreads: its stage in dvc.yaml has the same name."""
        return next(table for table in SPREAD_TABLES if name in getattr(self, table))

    @property
    def semantic_trained(self) -> dict[str, ClassifierRun | SemanticRun]:
        """All rows of the comparison in the semantic task, in the order of params.yaml."""
        return {**self.classifiers, **self.semantic_runs}

    @property
    def partial(self) -> dict[str, Split | SplitList]:
        """All label sets with the masks of a part of the training images."""
        return {**self.splits, **self.split_lists}

    @property
    def trained(self) -> dict[str, Trained]:
        """All rows of the comparison that train a model, in the order of params.yaml."""
        return {**self.runs, **self.distilled}

    @property
    def rows(self) -> dict[str, str]:
        """Each row of the comparison that shows a trained network -> its run: one for each run, and a second
        one, RUN.teacher, for its teacher, where student and teacher have a row each."""
        both = self.predict.network == "both"
        rows: dict[str, str] = {}
        for name, run in self.trained.items():
            rows[name] = name
            if both and run.method in TAUGHT:
                rows[f"{name}{TEACHER}"] = name
        return rows

    def network(self, row: str) -> Literal["student", "teacher"]:
        """Which network a row shows, of a run that holds a student and a teacher."""
        if self.predict.network == "both":
            return "teacher" if row.endswith(TEACHER) else "student"
        return self.predict.network

    @property
    def untrained(self) -> dict[str, Baseline]:
        """All rows of the comparison that train nothing, in the order of params.yaml."""
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

    def _check_baseline(self, key: str, row: Baseline) -> None:
        known(f"{key}.detections", row.detections, self.trained)
        if self.trained[row.detections].task != "instances":
            raise ValueError(
                f"{key}.detections: {row.detections} gives masks to given boxes and detects none"
            )
        if row.oracle != "none":
            known(f"{key}.oracle", row.oracle, self.trained)

    def _check_separation(self) -> None:
        for name in self.separation:
            known("separation", name, self.runs)
            if self.runs[name].task != "masks_in_boxes":
                raise ValueError(
                    f"separation: the task of {name} is {self.runs[name].task}, and the score is of the"
                    " encoders of labelers, whose task is masks_in_boxes"
                )
        if len(set(self.separation)) != len(self.separation):
            raise ValueError("separation names a run twice")

    def _check_pseudo_mask_quality(self) -> None:
        for name in self.pseudo_mask_quality:
            known("pseudo_mask_quality", name, self.runs)
            if self.runs[name].method != "box_teacher":
                raise ValueError(
                    f"pseudo_mask_quality: the method of {name} is {self.runs[name].method},"
                    " and only box_teacher keeps its teacher's masks"
                )
        if len(set(self.pseudo_mask_quality)) != len(self.pseudo_mask_quality):
            raise ValueError("pseudo_mask_quality names a run twice")

    def _check_models_of_oracles(self) -> None:
        """Retention is a share of what the same model has with masks."""
        for table, runs in (("runs", self.runs), ("distilled", self.distilled)):
            for name, run in runs.items():
                if run.oracle != "none" and (model := self.trained[run.oracle].model) != run.model:
                    problem = f"{run.oracle} has the model {model}, and this run {run.model}"
                    raise ValueError(f"{table}.{name}.oracle: {problem}; retention compares equal models")

    def _check_pseudo_labels(self, name: str, pseudo: PseudoLabels) -> None:
        known(f"pseudo_labels.{name}.labeler", pseudo.labeler, self.runs)
        known(f"pseudo_labels.{name}.labels", pseudo.labels, self.labels)
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
