"""Over-segment the training images: what SPML's clusters must not cross."""

from importlib.metadata import version
from pathlib import Path

from pipeline.data.images import ImageStore
from pipeline.engine.environment import environment
from pipeline.errors import run_or_exit
from pipeline.params import FileSegments
from pipeline.priors.segments import write_segments
from pipeline.workflow.stage import digest, open_stage, stage_code


def main() -> None:
    params, layout, name = open_stage("--name")
    row = params.all_segments[name]
    table = "segments" if name in params.segments else "file_segments"
    images = layout.prepared / "train"
    files = (Path(row.contours.path),) if isinstance(row, FileSegments) else ()
    inputs = (images / "images.json", *files, *stage_code(table, row))
    made_by = {**environment(), "higra": version("higra"), "opencv": version("opencv-python-headless")}
    write_segments(
        ImageStore.open(images),
        row,
        layout.segments(name),
        checkpoint=layout.checkpoint(f"segments-{name}", 0),
        key=digest(row.model_dump(exclude={"processes"}), made_by, files=inputs),
        name=name,
        executor=params.executor,
    )


if __name__ == "__main__":
    run_or_exit(main)
