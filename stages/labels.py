"""Derive one label file: the only thing that a training stage sees of the annotations."""

from pipeline.errors import run_or_exit
from pipeline.files import read_json, write_json
from pipeline.labels.weak import make_labels
from pipeline.workflow.stage import open_stage


def main() -> None:
    params, layout, name = open_stage("--name")
    row = params.labels[name]
    source = layout.annotations(row.split)
    write_json(layout.labels(name), make_labels(read_json(source), row.kind, source), indent=None)


if __name__ == "__main__":
    run_or_exit(main)
