"""Score one run's predictions, or the masks it gives to boxes, on the validation masks."""

import os

from pipeline.errors import run_or_exit
from pipeline.evaluation.run import evaluate_run, summarise_seeds
from pipeline.files import read_json, write_json
from pipeline.workflow.stage import open_stage, seeds_of


def main() -> None:
    params, layout, run = open_stage("--run")
    annotations = read_json(layout.annotations("val"))
    detects = run in params.untrained or params.runs[run].task == "instances"
    metrics, matches = {}, {}
    for seed in seeds_of(params, run):
        folder = layout.predictions(run, seed)
        detections = read_json(folder / "detections.json") if detects else None
        in_boxes = read_json(folder / "in_boxes.json")
        metrics[seed], matches[seed] = evaluate_run(
            annotations, detections, in_boxes, params.evaluate, processes=os.cpu_count() or 1
        )
        matches[seed].save(layout.evaluation(run, seed))
    write_json(layout.metrics(run), summarise_seeds(metrics, matches, params.evaluate))


if __name__ == "__main__":
    run_or_exit(main)
