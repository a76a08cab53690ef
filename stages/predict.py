"""Predict on the validation images: detections, and a mask for each ground-truth box."""

from pipeline.data.images import ImageStore
from pipeline.engine.devices import pick_device, reproducible
from pipeline.errors import run_or_exit
from pipeline.files import write_json
from pipeline.labels.label_file import LabelFile
from pipeline.methods.bundle import load_bundle
from pipeline.methods.prediction import predict_images
from pipeline.workflow.stage import open_stage


def main() -> None:
    params, layout, run = open_stage("--run")
    store = ImageStore.open(layout.prepared / "val")
    boxes = LabelFile.read(layout.labels("val_boxes"))
    settings, device = params.predict, pick_device()
    for seed in params.runs[run].seeds:
        with reproducible(settings.threads):
            method, categories = load_bundle(layout.model(run, seed), settings, device)
            detections, in_boxes = predict_images(method, store, boxes, categories, settings, device, run)
        write_json(layout.predictions(run, seed) / "detections.json", detections, indent=None)
        write_json(layout.predictions(run, seed) / "in_boxes.json", in_boxes, indent=None)


if __name__ == "__main__":
    run_or_exit(main)
