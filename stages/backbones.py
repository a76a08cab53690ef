"""Make the weights that backbones start from."""

from pipeline.errors import run_or_exit
from pipeline.methods.pretraining.start import write_backbone_start
from pipeline.workflow.stage import open_stage


def main() -> None:
    params, layout, name = open_stage("--name")
    write_backbone_start(params.backbones[name], layout.backbone(name), layout.checkpoint(name, 0))


if __name__ == "__main__":
    run_or_exit(main)
