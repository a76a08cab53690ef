"""Turn the boxes that a run detected, and the ground-truth boxes, into masks without training."""

from pipeline.data.images import ImageStore
from pipeline.errors import run_or_exit
from pipeline.files import read_json, write_json
from pipeline.methods.baselines.rows import apply_baseline
from pipeline.workflow.stage import open_stage


def main() -> None:
    params, layout, name = open_stage("--name")
    row = params.untrained[name]
    store = ImageStore.open(layout.prepared / "val")
    boxes = read_json(layout.labels("val_boxes"))
    for seed in params.trained[row.detections].seeds:
        detections = read_json(layout.predictions(row.detections, seed) / "detections.json")
        masked, in_boxes = apply_baseline(row, store, detections, boxes, params.executor)
        write_json(layout.predictions(name, seed) / "detections.json", masked, indent=None)
        write_json(layout.predictions(name, seed) / "in_boxes.json", in_boxes, indent=None)


if __name__ == "__main__":
    run_or_exit(main)
