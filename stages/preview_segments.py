"""Draw a few training images with the borders of an over-segmentation."""

from pipeline.data.images import ImageStore
from pipeline.data.packs import Pack
from pipeline.errors import run_or_exit
from pipeline.report.preview_segments import preview_segments
from pipeline.workflow.stage import open_stage


def main() -> None:
    _, layout, name = open_stage("--name")
    preview_segments(
        ImageStore.open(layout.prepared / "train"),
        Pack(layout.segments(name)),
        layout.preview("segments", name),
        layout.preview_figures("segments", name),
    )


if __name__ == "__main__":
    run_or_exit(main)
