"""Make the second round of pseudo-labels for tags by a classifier on those of the first."""

from pipeline.data.images import ImageStore
from pipeline.engine.devices import pick_device
from pipeline.engine.environment import environment
from pipeline.errors import run_or_exit
from pipeline.labels.semantic_labels import SemanticLabels
from pipeline.methods.spml.stage import retrieved_labels
from pipeline.workflow.stage import digest, open_stage, stage_code


def main() -> None:
    params, layout, name = open_stage("--name")
    row = params.retrieved_labels[name]
    seed = params.embeddings[row.embedding].seed
    images, labels = layout.prepared / "train", layout.labels(row.labels).parent
    model, classifier = layout.model(row.embedding, seed), layout.model(row.classifier, row.seed)
    inputs = (images / "images.json", labels, model, classifier, *stage_code("retrieved_labels", row))
    retrieved_labels(
        row,
        model,
        classifier,
        ImageStore.open(images),
        SemanticLabels.open(labels),
        layout.labels(name).parent,
        device=pick_device(),
        executor=params.executor,
        checkpoint=layout.checkpoint(f"retrieved-labels-{name}", seed),
        key=digest(row.model_dump(exclude={"processes"}), environment(), files=inputs),
        name=name,
    )


if __name__ == "__main__":
    run_or_exit(main)
