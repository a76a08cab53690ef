"""Make a label set of strokes or partial label maps that people drew, files of the user."""

import sys

from pipeline.data.packs import Pack
from pipeline.errors import run_or_exit
from pipeline.files import read_json
from pipeline.labels.own_annotations import write_own_labels
from pipeline.workflow.stage import open_stage


def main() -> None:
    params, layout, name = open_stage("--name")
    images = read_json(layout.annotations("train"))["images"]
    about = Pack(layout.semantic("train")).about
    folder, row = layout.labels(name).parent, params.own_labels[name]
    classes, background = about["classes"], about["background"]
    for line in write_own_labels(row, layout.root, images, classes, background, folder, params.executor):
        print(f"warning: {line}", file=sys.stderr)


if __name__ == "__main__":
    run_or_exit(main)
