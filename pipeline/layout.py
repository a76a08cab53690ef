"""Where every file of a benchmark lies, relative to the repository.  dvc.yaml says the same paths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Paths of one benchmark below `root`, the repository.

    The predictions and matches of a row RUN.teacher lie in the folder of its run.
    """

    root: Path
    benchmark: str

    @property
    def data(self) -> Path:
        return self.root / "data" / self.benchmark

    @property
    def prepared(self) -> Path:
        """Images without annotations in `train` and `val`; masks only in `annotations`."""
        return self.data / "prepared"

    def annotations(self, split: str) -> Path:
        return self.prepared / "annotations" / f"{split}.json"

    @property
    def summary(self) -> Path:
        return self.prepared / "summary.json"

    @property
    def semantic_maps(self) -> Path:
        """Label maps of `train` and `val`, a pack each."""
        return self.data / "semantic"

    def semantic(self, split: str) -> Path:
        return self.semantic_maps / split

    def labels(self, name: str) -> Path:
        return self.data / "labels" / name / "labels.json"

    def unlabelled(self, name: str) -> Path:
        """The images without labels, of a label set with masks of a part of the images."""
        return self.labels(name).with_name("unlabelled.json")

    def segments(self, name: str) -> Path:
        """A pack of region ids of the training images."""
        return self.data / "segments" / name

    def backbone(self, name: str) -> Path:
        return self.data / "backbones" / name

    def model(self, run: str, seed: int) -> Path:
        return self.data / "models" / run / f"seed-{seed}"

    def predictions(self, row: str, seed: int) -> Path:
        return self.data / "predictions" / row.replace(".", "/") / f"seed-{seed}"

    def evaluation(self, row: str, seed: int) -> Path:
        return self.data / "evaluation" / row.replace(".", "/") / f"seed-{seed}.npz"

    def shown_truth(self, run: str) -> Path:
        """Pack of the ground truth of the images that the report shows of a run's label maps."""
        return self.data / "evaluation" / run / "shown"

    def label_counts(self, name: str) -> Path:
        """Counts of a label set's maps; no row of the comparison has a name with a dot."""
        return self.data / "evaluation" / "labels.train" / f"{name}.npz"

    def preview(self, kind: str, name: str) -> Path:
        """The picture of an over-segmentation (kind `segments`), or of labels made of class activation maps
        (`cams`); beside it a JSON file with figures.

        The folder holds no row of the comparison, whose names have no dot.
        """
        return self.data / "evaluation" / "previews.train" / f"{kind}-{name}.png"

    def preview_figures(self, kind: str, name: str) -> Path:
        return self.preview(kind, name).with_suffix(".json")

    def classifier(self, name: str) -> Path:
        """The classifier of tags that a set of class activation maps is made by."""
        return self.data / "classifiers" / name

    def cams(self, name: str) -> Path:
        """Pack of class activation maps, refined or not."""
        return self.data / "cams" / name

    @property
    def reports(self) -> Path:
        return self.root / "reports" / self.benchmark

    def metrics(self, run: str) -> Path:
        return self.reports / "metrics" / f"{run}.json"

    def label_metrics(self, name: str) -> Path:
        """How good a set of pseudo-labels, or of label maps, is."""
        return self.reports / "metrics" / "labels" / f"{name}.json"

    def split_metrics(self, name: str) -> Path:
        """How much of the training images a split labels."""
        return self.reports / "metrics" / "splits" / f"{name}.json"

    def separation(self, run: str) -> Path:
        """How well the encoder of a labeler separates object and background."""
        return self.reports / "metrics" / "separation" / f"{run}.json"

    def pseudo_mask_quality(self, run: str) -> Path:
        """How good the masks were that a run's teacher gave its student."""
        return self.reports / "metrics" / "pseudo_masks" / f"{run}.json"

    @property
    def comparison(self) -> Path:
        return self.reports / "metrics" / "comparison.json"

    @property
    def semantic_comparison(self) -> Path:
        """That of the semantic task, and of its label sets."""
        return self.reports / "metrics" / "semantic_comparison.json"

    def curve(self, run: str) -> Path:
        return self.reports / "curves" / f"{run}.csv"

    @property
    def cost(self) -> Path:
        return self.reports / "cost.csv"

    def checkpoint(self, run: str, seed: int) -> Path:
        """Resume points, outside what DVC knows."""
        return self.root / ".checkpoints" / self.benchmark / f"{run}-seed-{seed}"
