"""Draw a few training images with their class activation maps and the labels made of them."""

from pipeline.data.images import ImageStore
from pipeline.data.packs import Pack
from pipeline.errors import run_or_exit
from pipeline.report.preview_cams import preview_cams
from pipeline.workflow.stage import open_stage


def main() -> None:
    params, layout, name = open_stage("--name")
    preview_cams(
        ImageStore.open(layout.prepared / "train"),
        Pack(layout.cams(params.cam_labels[name].cams)),
        layout.labels(name).parent,
        layout.preview("cams", name),
        layout.preview_figures("cams", name),
    )


if __name__ == "__main__":
    run_or_exit(main)
