"""Make the procedural dataset `shapes`."""

from pipeline.data.shapes.dataset import generate
from pipeline.errors import run_or_exit
from pipeline.workflow.stage import open_stage


def main() -> None:
    params, layout, name = open_stage("--name")
    generate(params.generate[name], layout.prepared)


if __name__ == "__main__":
    run_or_exit(main)
