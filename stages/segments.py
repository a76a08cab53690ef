"""Over-segment the training images: what SPML's clusters must not cross."""

from importlib.metadata import version
from pathlib import Path

from pipeline.data.images import ImageStore
from pipeline.engine.environment import environment
from pipeline.errors import run_or_exit
from pipeline.priors.segments import write_segments
from pipeline.workflow.stage import digest, open_stage, stage_code


def main() -> None:
    params, layout, name = open_stage("--name")
    row = params.segments[name]
    images = layout.prepared / "train"
    inputs = (images / "images.json", *map(Path, row.files), *stage_code("segments", row))
    made_by = {**environment(), "higra": version("higra"), "opencv": version("opencv-python-headless")}
    write_segments(
        ImageStore.open(images),
        row,
        layout.segments(name),
        checkpoint=layout.checkpoint(f"segments-{name}", 0),
        key=digest(row.model_dump(exclude={"processes"}), made_by, files=inputs),
        name=name,
    )


if __name__ == "__main__":
    run_or_exit(main)
