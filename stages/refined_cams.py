"""Spread class activation maps up to boundaries that are learnt from them."""

from pipeline.data.images import ImageStore
from pipeline.distributed import is_main
from pipeline.engine.environment import environment
from pipeline.errors import run_or_exit
from pipeline.labels.semantic_labels import SemanticLabels
from pipeline.methods.cam.stage import refine_cams
from pipeline.report.cost import Cost, write_cost
from pipeline.workflow.stage import digest, open_stage, stage_code


def main() -> None:
    params, layout, name = open_stage("--name")
    row = params.refined_cams[name]
    images, cams = layout.prepared / "train", layout.cams(row.cams)
    labels = layout.labels(row.labels)
    start = layout.backbone(row.backbone) / "backbone.safetensors"
    inputs = (images / "images.json", labels, cams, start, *stage_code("refined_cams", row))
    result = refine_cams(
        row,
        ImageStore.open(images),
        SemanticLabels.open(labels.parent),
        cams,
        start,
        layout.cams(name),
        checkpoint=layout.checkpoint(f"refined-cams-{name}", row.seed),
        key=digest(row.model_dump(exclude={"confident": {"processes"}}), environment(), files=inputs),
        name=name,
        executor=params.executor,
    )
    if is_main():
        write_cost(layout.cost, Cost.of_training(name, row.seed, result))


if __name__ == "__main__":
    run_or_exit(main)
