"""Train SPML's embedding of pixels on partial label maps and an over-segmentation."""

from pipeline.data.images import ImageStore
from pipeline.distributed import is_main
from pipeline.engine.environment import environment
from pipeline.engine.lock import discard
from pipeline.errors import run_or_exit
from pipeline.labels.semantic_labels import SemanticLabels
from pipeline.methods.semantic.stage import train_semantic
from pipeline.report.cost import Cost, write_cost
from pipeline.report.curves import write_curve
from pipeline.workflow.stage import digest, open_stage, stage_code


def main() -> None:
    params, layout, name = open_stage("--name")
    row = params.embeddings[name]
    settings, model = params.semantic_methods[row.settings], params.semantic_models[row.model]
    images, labels = layout.prepared / "train", layout.labels(row.labels).parent
    regions, start = layout.segments(row.segments), layout.backbone(row.backbone) / "backbone.safetensors"
    inputs = (images / "images.json", labels, regions, start, *stage_code("train_embeddings", row))
    checkpoint = layout.checkpoint(name, row.seed)
    result = train_semantic(
        settings,
        model,
        ImageStore.open(images),
        SemanticLabels.open(labels),
        layout.model(name, row.seed),
        start=start,
        regions=regions,
        seed=row.seed,
        checkpoint=checkpoint,
        key=digest(settings, model, environment(), files=inputs),
        name=name,
    )
    if is_main():
        write_cost(layout.cost, Cost.of_training(name, row.seed, result))
        write_curve(layout.curve(name), {row.seed: result.history})
    discard(checkpoint)


if __name__ == "__main__":
    run_or_exit(main)
