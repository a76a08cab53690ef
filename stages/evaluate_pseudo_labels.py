"""Measure a set of pseudo-labels against the training masks."""

from pipeline.errors import run_or_exit
from pipeline.evaluation.pseudo_labels import pseudo_label_figures
from pipeline.files import read_json, write_json
from pipeline.workflow.stage import open_stage


def main() -> None:
    params, layout, name = open_stage("--name")
    truth, labels = read_json(layout.annotations("train")), layout.labels(name)
    figures = pseudo_label_figures(truth, read_json(labels), params.evaluate, labels)
    write_json(layout.label_metrics(name), figures)


if __name__ == "__main__":
    run_or_exit(main)
