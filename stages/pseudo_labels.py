"""Make a label set of masks: an auto-labeler's, for the boxes of another label set."""

from pathlib import Path

from pipeline.data.images import ImageStore
from pipeline.engine.devices import pick_device
from pipeline.errors import run_or_exit
from pipeline.methods.bundle import environment
from pipeline.methods.mal.labeling import write_pseudo_labels
from pipeline.workflow.stage import digest, open_stage

# What the resume point of a labelling belongs to, beside parameters and data.
CODE = tuple(Path("pipeline") / part for part in ("data", "labels", "methods", "models", "priors"))


def main() -> None:
    params, layout, name = open_stage("--name")
    row = params.pseudo_labels[name]
    images, boxes = layout.prepared / "train", layout.labels(row.labels)
    model = layout.model(row.labeler, row.seed)
    inputs = (images / "images.json", boxes, model / "model.json", model / "model.safetensors", *CODE)
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
