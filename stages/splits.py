"""Derive the masks of a part of the training images, and the list of images without labels."""

from pipeline.errors import run_or_exit
from pipeline.files import read_json, write_json
from pipeline.labels.splits import make_split
from pipeline.labels.unlabelled import write_unlabelled
from pipeline.workflow.stage import open_stage


def main() -> None:
    params, layout, name = open_stage("--name")
    source = layout.annotations("train")
    split = make_split(read_json(source), params.partial[name], layout.root, source)
    write_json(layout.labels(name), split.labels, indent=None)
    write_unlabelled(layout.unlabelled(name), split.unlabelled)
    write_json(layout.split_metrics(name), split.figures)


if __name__ == "__main__":
    run_or_exit(main)
