"""Train the classifier whose class activation maps are taken, from image tags alone."""

from pipeline.data.images import ImageStore
from pipeline.distributed import is_main
from pipeline.engine.environment import environment
from pipeline.errors import run_or_exit
from pipeline.labels.semantic_labels import SemanticLabels
from pipeline.methods.cam.stage import train_cams
from pipeline.report.cost import Cost, write_cost
from pipeline.workflow.stage import digest, open_stage, stage_code


def main() -> None:
    params, layout, name = open_stage("--name")
    row = params.cams[name]
    images, labels = layout.prepared / "train", layout.labels(row.labels)
    start = layout.backbone(row.backbone) / "backbone.safetensors"
    inputs = (images / "images.json", labels, start, *stage_code("train_cams", row))
    result = train_cams(
        row,
        ImageStore.open(images),
        SemanticLabels.open(labels.parent),
        start,
        layout.classifier(name),
        checkpoint=layout.checkpoint(f"train-cams-{name}", row.seed),
        key=digest(row.model_dump(exclude={"inference"}), environment(), files=inputs),
        name=name,
    )
    if is_main():
        write_cost(layout.cost, Cost.of_training(name, row.seed, result))


if __name__ == "__main__":
    run_or_exit(main)
