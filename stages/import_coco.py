"""Check a COCO-format folder and write what the other stages read."""

import sys

from pipeline.data.prepare import import_coco
from pipeline.errors import run_or_exit
from pipeline.workflow.stage import open_stage


def main() -> None:
    params, layout, name = open_stage("--name")
    summary = import_coco(params.import_coco[name], layout.root, layout.prepared, params.executor)
    for line in summary["warnings"]:
        print(f"warning: {line}", file=sys.stderr)


if __name__ == "__main__":
    run_or_exit(main)
