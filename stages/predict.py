"""Predict on the validation images: detections, and a mask for each ground-truth box."""

from pipeline.data.images import ImageStore
from pipeline.engine.devices import pick_device
from pipeline.errors import run_or_exit
from pipeline.files import write_json
from pipeline.labels.label_file import LabelFile
from pipeline.methods.prediction import predict_run
from pipeline.workflow.stage import open_stage, rows_of


def main() -> None:
    params, layout, name = open_stage("--run")
    run = params.trained[name]
    store = ImageStore.open(layout.prepared / "val")
    boxes = LabelFile.read(layout.labels("val_boxes"))
    for row in rows_of(params, name):
        network = params.network(row)
        for seed in run.seeds:
            model, folder = layout.model(name, seed), layout.predictions(row, seed)
            detections, in_boxes = predict_run(
                model, run.task, store, boxes, params.predict, pick_device(), row, network
            )
            if detections is not None:
                write_json(folder / "detections.json", detections, indent=None)
            write_json(folder / "in_boxes.json", in_boxes, indent=None)


if __name__ == "__main__":
    run_or_exit(main)
