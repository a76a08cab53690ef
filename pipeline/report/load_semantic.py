"""From the files of a benchmark to `LabelMaps`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from pipeline.data.images import ImageStore
from pipeline.data.packs import Pack
from pipeline.evaluation.semantic_counts import SemanticCounts
from pipeline.files import read_json
from pipeline.layout import Layout
from pipeline.params import ClassifierRun, Params
from pipeline.params.semantic_rows import drawn_kind, label_sources
from pipeline.report.curves import read_curve
from pipeline.report.data import Difference, Interval
from pipeline.report.priors import load_priors
from pipeline.report.semantic_data import (
    LabelMapRow,
    LabelMaps,
    ScoredLabels,
    SemanticClasses,
    SemanticScene,
)
from pipeline.report.semantic_gallery import semantic_scenes


def load_label_maps(layout: Layout, params: Params) -> LabelMaps | None:
    """Read all that the report shows of the semantic task; None for params without a row of it and without
    an over-segmentation.

    Raises UserError for a missing file, KeyError or TypeError for one with another layout.
    """
    if not (params.semantic_trained or params.scored_labels or params.all_segments or params.cam_labels):
        return None
    comparison = read_json(layout.semantic_comparison)
    rows = tuple(_row(layout, params, comparison["runs"][name], name) for name in params.semantic_trained)
    best = min(rows, key=lambda row: (not row.is_oracle, -(row.score or 0.0)), default=None)
    classes, scenes = _shown(layout, params, best.name if best else "")
    maps = comparison["label_maps"]
    return LabelMaps(
        classes=classes,
        rows=rows,
        differences=_differences(comparison["differences"], "mIoU"),
        crf_differences=_differences(comparison["crf_differences"], "mIoU_crf"),
        sets=tuple(_scored(layout, params, name) for name in params.scored_labels),
        set_differences=_differences(maps["differences"], "mIoU"),
        curves={name: read_curve(layout.curve(name)) for name in params.semantic_trained},
        scenes=scenes,
        shown=best.name if best else "",
        stand_ins=tuple(
            name
            for name in params.semantic_trained
            if params.starts[_backbone(params, name)].kind == "shapes_pretraining"
        ),
        priors=load_priors(layout, params),
    )


def _row(layout: Layout, params: Params, compared: dict[str, Any], name: str) -> LabelMapRow:
    run, metrics = params.semantic_trained[name], read_json(layout.metrics(name))
    kept = compared["retention"]
    missing = list(metrics["not_computed"])
    if kept["reason"] and run.oracle != "none":
        missing.append(f"retention: {kept['reason']}")
    refined: dict[str, Any] = metrics.get("crf", {})
    figures = {key: metrics[key] for key in ("mIoU", "boundary_mIoU", "pixel_accuracy")}
    if refined:
        figures |= {f"{key}_crf": refined[key] for key in ("mIoU", "boundary_mIoU")}
        figures["crf_gain"] = metrics["crf_gain"]
    model = read_json(layout.model(name, run.seeds[0]) / "model.json")
    return LabelMapRow(
        name=name,
        title=run.title,
        method=params.semantic_methods[run.settings].kind,
        drawn=drawn_kind(params, run.labels),
        labels=run.labels,
        oracle=run.oracle,
        seeds=run.seeds,
        figures=figures,
        intervals={key: Interval.of(limits) for key, limits in compared["interval"].items()},
        confusion=SemanticCounts.load(layout.evaluation(name, run.seeds[0])).plain.confusion.sum(axis=0),
        retention=kept["value"],
        retention_interval=Interval.of(kept["interval"]),
        retention_crf=compared["retention_crf"]["value"],
        per_class=metrics["per_class"]["IoU"],
        seed_scores={int(seed): value for seed, value in compared["seeds"]["mIoU"].items()},
        not_computed=tuple(missing),
        model=_model(params, name),
        train_images=model["train_images"],
        labelled_fraction=model["train_images"] / read_json(layout.summary)["splits"]["train"]["images"],
        params_million=model["parameters"] / 1e6,
        settings={key: section.model_dump() for key, section in _sections(params, name).items()},
        environment=model["environment"],
    )


def _model(params: Params, name: str) -> str:
    run = params.semantic_trained[name]
    return params.embeddings[run.embedding].model if isinstance(run, ClassifierRun) else run.model


def _backbone(params: Params, name: str) -> str:
    run = params.semantic_trained[name]
    return params.embeddings[run.embedding].backbone if isinstance(run, ClassifierRun) else run.backbone


def _sections(params: Params, name: str) -> dict[str, BaseModel]:
    run = params.semantic_trained[name]
    sections: dict[str, BaseModel] = {
        "run": run,
        "method": params.semantic_methods[run.settings],
        "model": params.semantic_models[_model(params, name)],
        "backbone": params.starts[_backbone(params, name)],
    }
    if isinstance(run, ClassifierRun):
        embedding = params.embeddings[run.embedding]
        sections["embedding"] = embedding
        sections["embedding_method"] = params.semantic_methods[embedding.settings]
        sections["segments"] = params.all_segments[embedding.segments]
        sections["labels"] = params.spread[run.labels]
    behind = label_sources(params, run.labels)
    given = {f"weak_labels.{name}": row for name, row in params.weak_labels.items() if name in behind}
    return sections | given


def _scored(layout: Layout, params: Params, name: str) -> ScoredLabels:
    metrics = read_json(layout.label_metrics(name))
    return ScoredLabels(
        name=name,
        drawn=drawn_kind(params, name),
        origin=_origin(params, name),
        labelled=metrics["labelled"],
        labelled_accuracy=metrics["labelled_accuracy"],
        mIoU=metrics["mIoU"],
        interval=Interval.of(metrics["interval"]["mIoU"]),
        boundary_mIoU=metrics["boundary_mIoU"],
        images=metrics["images"],
    )


def _origin(params: Params, name: str) -> str:
    """How a label set came of what people gave."""
    if name in params.cam_labels:
        return f"class activation maps {params.cam_labels[name].cams}"
    if name in params.grown_labels:
        row = params.grown_labels[name]
        return f"{row.labels}, spread by the over-segmentation {row.segments} alone"
    if name in params.spread:
        return f"spread by the embedding {params.spread[name].embedding}"
    return "as they were given"


def _differences(items: list[dict[str, Any]], figure: str) -> tuple[Difference, ...]:
    return tuple(
        Difference(item["a"], item["b"], item[figure], Interval.of(item["interval"]), item["within_noise"])
        for item in items
        if item[figure] is not None
    )


def _shown(layout: Layout, params: Params, name: str) -> tuple[SemanticClasses, tuple[SemanticScene, ...]]:
    """The classes, and the images that the row called `name` ranks, of its first seed."""
    if not name:
        return SemanticClasses((), False), ()
    seed = params.semantic_trained[name].seeds[0]
    truth, folder = Pack(layout.shown_truth(name)), layout.predictions(name, seed)
    crf = folder / "maps_crf"
    scenes = semantic_scenes(
        ImageStore.open(layout.prepared / "val", layout.root),
        truth,
        Pack(folder / "maps"),
        Pack(crf) if crf.is_dir() else None,
        SemanticCounts.load(layout.evaluation(name, seed)),
        params.report.gallery,
    )
    return SemanticClasses(tuple(truth.about["classes"]), bool(truth.about["background"])), scenes
