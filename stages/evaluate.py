"""Score one run's predictions, or the masks it gives to boxes, on the validation masks."""

import os

from pipeline.errors import run_or_exit
from pipeline.evaluation.run import evaluate_run, summarise_seeds
from pipeline.files import read_json, write_json
from pipeline.workflow.stage import open_stage, rows_of, seeds_of


def main() -> None:
    params, layout, run = open_stage("--run")
    annotations = read_json(layout.annotations("val"))
    detects = run in params.untrained or params.trained[run].task == "instances"
    summaries = {}
    for row in rows_of(params, run):
        metrics, matches = {}, {}
        for seed in seeds_of(params, row):
            folder = layout.predictions(row, seed)
            detections = read_json(folder / "detections.json") if detects else None
            in_boxes = read_json(folder / "in_boxes.json")
            metrics[seed], matches[seed] = evaluate_run(
                annotations, detections, in_boxes, params.evaluate, processes=os.cpu_count() or 1
            )
            matches[seed].save(layout.evaluation(row, seed))
        summaries[row] = summarise_seeds(metrics, matches, params.evaluate)
    # The teacher's figures are a section of the run's file: DVC knows no output that only some rows have.
    figures = summaries.pop(run)
    for row, summary in summaries.items():
        figures[row.removeprefix(f"{run}.")] = summary
    write_json(layout.metrics(run), figures)


if __name__ == "__main__":
    run_or_exit(main)
