"""Paint the label maps of a split from the masks of its instances."""

from pipeline.errors import run_or_exit
from pipeline.files import read_json
from pipeline.labels.semantic_maps import write_semantic_maps
from pipeline.workflow.stage import open_stage


def main() -> None:
    params, layout, split = open_stage("--name")
    source = layout.annotations(split)
    row = params.paint[split]
    write_semantic_maps(read_json(source), layout.semantic(split), row.processes, source, params.executor)


if __name__ == "__main__":
    run_or_exit(main)
