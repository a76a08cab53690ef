"""Measure how well the encoder behind a set of pseudo-labels separates object and background."""

from pipeline.data.images import ImageStore
from pipeline.engine.devices import pick_device
from pipeline.errors import run_or_exit
from pipeline.files import read_json, write_json
from pipeline.labels.label_file import LabelFile
from pipeline.methods.mal.separation import measure_separation
from pipeline.workflow.stage import open_stage


def main() -> None:
    params, layout, name = open_stage("--name")
    row = params.pseudo_labels[name]
    figures = measure_separation(
        layout.model(row.labeler, row.seed),
        ImageStore.open(layout.prepared / "val"),
        LabelFile.read(layout.labels("val_boxes")),
        read_json(layout.annotations("val")),
        row.labeling,
        device=pick_device(),
        name=name,
    )
    write_json(layout.separation(name), figures)


if __name__ == "__main__":
    run_or_exit(main)
