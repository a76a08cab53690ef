"""Write the class activation maps of the images of a label set of tags."""

from pipeline.data.images import ImageStore
from pipeline.engine.devices import pick_device
from pipeline.engine.environment import environment
from pipeline.errors import run_or_exit
from pipeline.labels.semantic_labels import SemanticLabels
from pipeline.methods.cam.stage import write_cams
from pipeline.workflow.stage import digest, open_stage, stage_code


def main() -> None:
    params, layout, name = open_stage("--name")
    row = params.cams[name]
    images, labels, model = layout.prepared / "train", layout.labels(row.labels), layout.classifier(name)
    inputs = (images / "images.json", labels, model, *stage_code("cams", row))
    write_cams(
        model,
        ImageStore.open(images),
        SemanticLabels.open(labels.parent),
        row.inference,
        layout.cams(name),
        device=pick_device(),
        checkpoint=layout.checkpoint(f"cams-{name}", row.seed),
        key=digest(row.inference, environment(), files=inputs),
        name=name,
    )


if __name__ == "__main__":
    run_or_exit(main)
