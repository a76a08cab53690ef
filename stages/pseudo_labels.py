"""Make a label set of masks: an auto-labeler's, for the boxes of another label set."""

from pipeline.data.images import ImageStore
from pipeline.engine.devices import pick_device
from pipeline.engine.environment import environment
from pipeline.errors import run_or_exit
from pipeline.methods.mal.labeling import write_pseudo_labels
from pipeline.workflow.stage import digest, open_stage, stage_code


def main() -> None:
    params, layout, name = open_stage("--name")
    row = params.pseudo_labels[name]
    images, boxes = layout.prepared / "train", layout.labels(row.labels)
    model = layout.model(row.labeler, row.seed)
    weights = (model / "model.json", model / "model.safetensors")
    inputs = (images / "images.json", boxes, *weights, *stage_code("pseudo_labels", row))
    write_pseudo_labels(
        model,
        ImageStore.open(images),
        boxes,
        row.labeling,
        layout.labels(name).parent,
        device=pick_device(),
        checkpoint=layout.checkpoint(f"pseudo-labels-{name}", row.seed),
        key=digest(row.model_dump(exclude={"labeling": {"workers"}}), environment(), files=inputs),
        name=name,
    )


if __name__ == "__main__":
    run_or_exit(main)
