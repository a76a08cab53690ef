"""Measure the masks that a run's teacher gave its student against the training masks."""

from pipeline.errors import run_or_exit
from pipeline.files import read_json, write_json
from pipeline.methods.box_teacher.quality import pseudo_mask_quality
from pipeline.workflow.stage import open_stage


def main() -> None:
    params, layout, name = open_stage("--run")
    annotations = read_json(layout.annotations("train"))
    figures = {
        str(seed): pseudo_mask_quality(layout.model(name, seed), annotations, seed)
        for seed in params.runs[name].seeds
    }
    write_json(layout.pseudo_mask_quality(name), figures)


if __name__ == "__main__":
    run_or_exit(main)
