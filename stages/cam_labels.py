"""Make a label set of partial label maps from class activation maps, and from boxes if the row says so."""

from pipeline.errors import run_or_exit
from pipeline.labels.semantic_labels import SemanticLabels
from pipeline.methods.cam.label_sets import write_cam_labels
from pipeline.params import BoxCamLabels
from pipeline.workflow.stage import open_stage


def main() -> None:
    params, layout, name = open_stage("--name")
    row = params.cam_labels[name]
    boxes = layout.labels(row.boxes).parent if isinstance(row, BoxCamLabels) else None
    write_cam_labels(
        row,
        layout.cams(row.cams),
        SemanticLabels.open(layout.labels(row.labels).parent),
        layout.labels(name).parent,
        boxes=SemanticLabels.open(boxes) if boxes else None,
        name=name,
        executor=params.executor,
    )


if __name__ == "__main__":
    run_or_exit(main)
