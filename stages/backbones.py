"""Make the weights that backbones start from."""

from pipeline.engine.environment import environment
from pipeline.errors import run_or_exit
from pipeline.methods.pretraining.start import write_backbone_start
from pipeline.report.cost import Cost, write_cost
from pipeline.workflow.stage import digest, open_stage, stage_code


def main() -> None:
    params, layout, name = open_stage("--name")
    section, checkpoint = params.starts[name], layout.checkpoint(f"backbone-{name}", 0)
    table = "backbones" if name in params.backbones else "weight_files"
    key = digest(section, environment(), files=stage_code(table, section))
    result = write_backbone_start(
        section, layout.backbone(name), root=layout.root, checkpoint=checkpoint, key=key, name=name
    )
    if result is not None:
        write_cost(layout.cost, Cost.of_training(name, 0, result))


if __name__ == "__main__":
    run_or_exit(main)
