"""Train one run, seed after seed, from one label file."""

from pipeline.data.images import ImageStore
from pipeline.distributed import is_main
from pipeline.engine.environment import environment
from pipeline.engine.lock import discard
from pipeline.engine.loop import fit
from pipeline.engine.protocol import LeavesRecords
from pipeline.engine.rng import seed_everything
from pipeline.errors import run_or_exit
from pipeline.files import write_json
from pipeline.labels.label_file import LabelFile
from pipeline.methods.bundle import save_bundle
from pipeline.methods.training import build_training
from pipeline.params import Distilled
from pipeline.report.cost import Cost, write_cost
from pipeline.report.curves import write_curve
from pipeline.workflow.stage import digest, open_stage, stage_code


def main() -> None:
    params, layout, name = open_stage("--run")
    run = params.trained[name]
    settings, model = params.methods[run.settings], params.models[run.model]
    images, label_file = layout.prepared / "train", layout.labels(run.labels)
    start = layout.backbone(run.backbone) / "backbone.safetensors"
    unlabelled = layout.unlabelled(run.labels)
    teachers = {seed: layout.model(run.teacher, seed) for seed in run.seeds if isinstance(run, Distilled)}
    labels = LabelFile.read(label_file)
    code = stage_code("train_distilled" if teachers else "train", run)
    inputs = (images / "images.json", label_file, unlabelled, start, *teachers.values(), *code)
    key = digest(run.method, settings, model, environment(), files=inputs)
    histories = {}
    for seed in run.seeds:
        seed_everything(seed)
        store = ImageStore.open(images)
        method, dataset = build_training(
            settings,
            model,
            store,
            labels,
            params.predict,
            seed,
            start=start,
            unlabelled=unlabelled,
            teacher=teachers.get(seed),
        )
        checkpoint = layout.checkpoint(name, seed)
        result = fit(method, dataset, settings.train, seed=seed, checkpoint=checkpoint, key=key, name=name)
        histories[seed] = result.history
        if is_main():
            folder = layout.model(name, seed)
            save_bundle(folder, method.module, settings, model, labels.categories, labels.annotated_images)
            if isinstance(method, LeavesRecords):
                for file, content in method.records().items():
                    write_json(folder / file, content, indent=None)
            write_cost(layout.cost, Cost.of_training(name, seed, result))
    if is_main():
        write_curve(layout.curve(name), histories)
    for seed in run.seeds:  # only now: a run killed between two seeds must not train the first again
        discard(layout.checkpoint(name, seed))


if __name__ == "__main__":
    run_or_exit(main)
