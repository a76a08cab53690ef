"""Predict label maps of the validation images, without and with a dense CRF."""

from pipeline.data.images import ImageStore
from pipeline.engine.devices import pick_device
from pipeline.engine.environment import environment
from pipeline.errors import run_or_exit
from pipeline.methods.semantic.stage import predict_label_maps
from pipeline.params import ClassifierRun
from pipeline.workflow.stage import digest, open_stage, stage_code


def main() -> None:
    params, layout, name = open_stage("--run")
    run = params.semantic_trained[name]
    settings = params.semantic_predict[run.prediction]
    stage = "predict_classifiers" if isinstance(run, ClassifierRun) else "predict_semantic"
    images, code = layout.prepared / "val", stage_code(stage, run)
    for seed in run.seeds:
        model = layout.model(name, seed)
        inputs = (images / "images.json", model, *code)
        predict_label_maps(
            model,
            ImageStore.open(images),
            settings,
            layout.predictions(name, seed),
            device=pick_device(),
            executor=params.executor,
            checkpoint=layout.checkpoint(f"predict-{name}", seed),
            key=digest(settings.model_dump(exclude={"processes"}), environment(), files=inputs),
            name=name,
        )


if __name__ == "__main__":
    run_or_exit(main)
