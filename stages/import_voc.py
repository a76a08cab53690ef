"""Check Pascal VOC 2012 and write what the other stages read."""

import sys

from pipeline.data.prepare_semantic import import_voc
from pipeline.errors import run_or_exit
from pipeline.workflow.stage import open_stage


def main() -> None:
    params, layout, name = open_stage("--name")
    row = params.import_voc[name]
    summary = import_voc(row, layout.root, layout.prepared, layout.semantic_maps, params.executor)
    for line in summary["warnings"]:
        print(f"warning: {line}", file=sys.stderr)


if __name__ == "__main__":
    run_or_exit(main)
