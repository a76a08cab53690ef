"""Derive one weak label set of the semantic task from label maps."""

from pipeline.errors import run_or_exit
from pipeline.files import read_json
from pipeline.labels.weak_semantic import write_weak_labels
from pipeline.workflow.stage import open_stage


def main() -> None:
    params, layout, name = open_stage("--name")
    row = params.weak_labels[name]
    annotations = read_json(layout.annotations(row.split))
    folder = layout.labels(name).parent
    write_weak_labels(layout.semantic(row.split), annotations, row, folder, params.executor)


if __name__ == "__main__":
    run_or_exit(main)
