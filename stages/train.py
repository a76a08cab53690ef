"""Train one run, seed after seed, from one label file."""

from pathlib import Path

from pipeline.data.dataset import LabelledImages
from pipeline.data.images import ImageStore
from pipeline.engine.checkpoint import discard
from pipeline.engine.loop import fit, seed_everything
from pipeline.errors import run_or_exit
from pipeline.labels.label_file import LabelFile
from pipeline.methods.build import build_method
from pipeline.methods.bundle import save_bundle
from pipeline.models.backbones import load_backbone
from pipeline.report.cost import Cost, write_cost
from pipeline.report.curves import write_curve
from pipeline.workflow.stage import digest, open_stage

CODE = tuple(
    Path("pipeline") / part
    for part in ("data/dataset.py", "data/transforms.py", "engine", "models", "methods")
)


def main() -> None:
    params, layout, name = open_stage("--run")
    run = params.runs[name]
    settings, model = params.methods[run.settings], params.models[run.model]
    images, labels_path = layout.prepared / "train", layout.labels(run.labels)
    start = layout.backbone(run.backbone) / "backbone.safetensors"
    labels = LabelFile.read(labels_path)
    key = digest(
        run.model_dump(exclude={"seeds", "title", "oracle"}),
        settings,
        model,
        files=(images / "images.json", labels_path, start, *CODE),
    )
    history = {}
    for seed in run.seeds:
        seed_everything(seed)
        method = build_method(settings, model, len(labels.categories), params.predict, seed)
        load_backbone(method.module.backbone, start)
        dataset = LabelledImages(ImageStore.open(images), labels, settings.train.augmentation, seed)
        checkpoint = layout.checkpoint(name, seed)
        result = fit(method, dataset, settings.train, seed=seed, checkpoint=checkpoint, key=key, name=name)
        save_bundle(layout.model(name, seed), method.module, settings, model, labels.categories, len(dataset))
        history[seed] = result.history
        write_cost(layout.cost, Cost.of_training(name, seed, result))
    write_curve(layout.curve(name), history)
    for seed in run.seeds:  # only now: a run killed between two seeds must not train the first again
        discard(layout.checkpoint(name, seed))


if __name__ == "__main__":
    run_or_exit(main)
