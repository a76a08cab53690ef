"""Make the weights that backbones start from."""

from pathlib import Path

from pipeline.errors import run_or_exit
from pipeline.methods.pretraining.start import write_backbone_start
from pipeline.report.cost import Cost, write_cost
from pipeline.workflow.stage import digest, open_stage

CODE = tuple(Path("pipeline") / part for part in ("data/shapes", "engine", "methods/pretraining", "models"))


def main() -> None:
    params, layout, name = open_stage("--name")
    section, checkpoint = params.starts[name], layout.checkpoint(f"backbone-{name}", 0)
    key = digest(section, files=CODE)
    result = write_backbone_start(
        section, layout.backbone(name), root=layout.root, checkpoint=checkpoint, key=key, name=name
    )
    if result is not None:
        write_cost(layout.cost, Cost.of_training(name, 0, result))


if __name__ == "__main__":
    run_or_exit(main)
