"""Train one row of the semantic task, seed after seed: a classifier of a frozen embedding, or all of it."""

from pipeline.data.images import ImageStore
from pipeline.distributed import is_main
from pipeline.engine.environment import environment
from pipeline.engine.lock import discard
from pipeline.errors import run_or_exit
from pipeline.labels.semantic_labels import SemanticLabels
from pipeline.methods.semantic.stage import train_semantic
from pipeline.params import ClassifierRun
from pipeline.report.cost import Cost, write_cost
from pipeline.report.curves import write_curve
from pipeline.workflow.stage import digest, open_stage, stage_code


def main() -> None:
    params, layout, name = open_stage("--run")
    run = params.semantic_trained[name]
    settings = params.semantic_methods[run.settings]
    images, labels = layout.prepared / "train", layout.labels(run.labels).parent
    if isinstance(run, ClassifierRun):
        source = params.embeddings[run.embedding]
        model, start = params.semantic_models[source.model], None
        embedding = layout.model(run.embedding, source.seed)
        inputs = (images / "images.json", labels, embedding, *stage_code("train_classifiers", run))
    else:
        model, embedding = params.semantic_models[run.model], None
        start = layout.backbone(run.backbone) / "backbone.safetensors"
        inputs = (images / "images.json", labels, start, *stage_code("train_semantic", run))
    store, supervision = ImageStore.open(images), SemanticLabels.open(labels)
    key = digest(settings, model, environment(), files=inputs)
    histories = {}
    for seed in run.seeds:
        result = train_semantic(
            settings,
            model,
            store,
            supervision,
            layout.model(name, seed),
            start=start,
            embedding=embedding,
            seed=seed,
            checkpoint=layout.checkpoint(name, seed),
            key=key,
            name=name,
        )
        histories[seed] = result.history
        if is_main():
            write_cost(layout.cost, Cost.of_training(name, seed, result))
    if is_main():
        write_curve(layout.curve(name), histories)
    for seed in run.seeds:  # only now: a run killed between two seeds must not train the first again
        discard(layout.checkpoint(name, seed))


if __name__ == "__main__":
    run_or_exit(main)
