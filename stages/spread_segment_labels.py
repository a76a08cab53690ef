"""Make a label set of pseudo-labels from points by the segments of a trained embedding, DensePose's way."""

from pipeline.data.images import ImageStore
from pipeline.engine.devices import pick_device
from pipeline.engine.environment import environment
from pipeline.errors import run_or_exit
from pipeline.labels.semantic_labels import SemanticLabels
from pipeline.methods.spml.stage import spread_segment_labels
from pipeline.workflow.stage import digest, open_stage, stage_code


def main() -> None:
    params, layout, name = open_stage("--name")
    row = params.spread_segment_labels[name]
    seed = params.embeddings[row.embedding].seed
    images, labels = layout.prepared / "train", layout.labels(row.labels).parent
    model, regions = layout.model(row.embedding, seed), layout.segments(row.segments)
    inputs = (images / "images.json", labels, regions, model, *stage_code("spread_segment_labels", row))
    spread_segment_labels(
        row,
        model,
        ImageStore.open(images),
        SemanticLabels.open(labels),
        regions,
        layout.labels(name).parent,
        device=pick_device(),
        executor=params.executor,
        checkpoint=layout.checkpoint(f"spread-segment-labels-{name}", seed),
        key=digest(row.model_dump(exclude={"processes"}), environment(), files=inputs),
        name=name,
    )


if __name__ == "__main__":
    run_or_exit(main)
