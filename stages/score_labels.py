"""Score the label maps of a label set on the ground truth of the training images."""

from pipeline.data.packs import Pack
from pipeline.errors import run_or_exit
from pipeline.evaluation.label_maps import score_label_maps
from pipeline.files import write_json
from pipeline.workflow.stage import open_stage


def main() -> None:
    params, layout, name = open_stage("--name")
    maps = Pack(layout.labels(name).parent / "maps")
    metrics, counts = score_label_maps(
        Pack(layout.semantic("train")), maps, params.semantic_evaluate, params.executor
    )
    counts.save(layout.label_counts(name))
    write_json(layout.label_metrics(name), metrics)


if __name__ == "__main__":
    run_or_exit(main)
