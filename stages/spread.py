"""Make a label set of pseudo-labels by a trained embedding."""

from pathlib import Path

from pipeline.data.images import ImageStore
from pipeline.engine.devices import pick_device
from pipeline.engine.environment import environment
from pipeline.errors import run_or_exit
from pipeline.labels.semantic_labels import SemanticLabels
from pipeline.layout import Layout
from pipeline.methods.spml.stage import Spreading, spread
from pipeline.params import RetrievedLabels, SpreadCamLabels, SpreadRow, SpreadSegmentLabels
from pipeline.workflow.stage import digest, open_stage, stage_code


def main() -> None:
    params, layout, name = open_stage("--name")
    row, table = params.spread[name], params.spread_table(name)
    seed = params.embeddings[row.embedding].seed
    images, labels = layout.prepared / "train", layout.labels(row.labels).parent
    model, beside = layout.model(row.embedding, seed), _beside(layout, row)
    read = (images / "images.json", labels, model, *([beside] if beside else []), *stage_code(table, row))
    work = Spreading(
        model,
        ImageStore.open(images),
        SemanticLabels.open(labels),
        layout.labels(name).parent,
        device=pick_device(),
        executor=params.executor,
        checkpoint=layout.checkpoint(f"{table}-{name}", seed),
        key=digest(row.model_dump(exclude={"processes"}), environment(), files=read),
        name=name,
    )
    spread(row, beside, work)


def _beside(layout: Layout, row: SpreadRow) -> Path | None:
    match row:
        case SpreadSegmentLabels():
            return layout.segments(row.segments)
        case SpreadCamLabels():
            return layout.cams(row.cams)
        case RetrievedLabels():
            return layout.model(row.classifier, row.seed)
    return None


if __name__ == "__main__":
    run_or_exit(main)
