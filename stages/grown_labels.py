"""Spread a label set of points, strokes or partial maps over an over-segmentation, without learning."""

from pipeline.data.images import ImageStore
from pipeline.errors import run_or_exit
from pipeline.labels.grown_labels import write_grown_labels
from pipeline.labels.semantic_labels import SemanticLabels
from pipeline.workflow.stage import open_stage


def main() -> None:
    params, layout, name = open_stage("--name")
    row = params.grown_labels[name]
    write_grown_labels(
        row,
        SemanticLabels.open(layout.labels(row.labels).parent),
        ImageStore.open(layout.prepared / "train"),
        layout.segments(row.segments),
        layout.labels(name).parent,
        name,
        params.executor,
    )


if __name__ == "__main__":
    run_or_exit(main)
