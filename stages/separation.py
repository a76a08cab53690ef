"""Score how well the encoder of a labeler separates object and background."""

from pipeline.data.images import ImageStore
from pipeline.engine.devices import pick_device
from pipeline.errors import run_or_exit
from pipeline.files import read_json, write_json
from pipeline.labels.label_file import LabelFile
from pipeline.methods.mal.separation import measure_separation, over_seeds
from pipeline.workflow.stage import open_stage


def main() -> None:
    params, layout, name = open_stage("--run")
    store = ImageStore.open(layout.prepared / "val")
    boxes = LabelFile.read(layout.labels("val_boxes"))
    annotations = read_json(layout.annotations("val"))
    figures = {
        seed: measure_separation(
            layout.model(name, seed),
            store,
            boxes,
            annotations,
            params.predict.labeling,
            device=pick_device(),
            name=name,
        )
        for seed in params.runs[name].seeds
    }
    write_json(layout.separation(name), over_seeds(figures))


if __name__ == "__main__":
    run_or_exit(main)
