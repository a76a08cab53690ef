"""From the files of a benchmark to `ReportData`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline.data.images import ImageStore
from pipeline.errors import UserError
from pipeline.evaluation.results import category_names, have_masks
from pipeline.files import read_json
from pipeline.layout import Layout
from pipeline.params import TAUGHT, Baseline, Params
from pipeline.report.curves import read_curve
from pipeline.report.data import (
    Curve,
    DataSummary,
    Difference,
    Interval,
    ReportData,
    Row,
    Scene,
)
from pipeline.report.labelled import load_labelled
from pipeline.report.load_semantic import load_label_maps
from pipeline.report.pseudo_labels import load_set
from pipeline.report.pseudo_masks import load_pseudo_masks
from pipeline.report.scenes import Predictions, make_scenes
from pipeline.report.separation import load_separation
from pipeline.report.training_scenes import load_training_scenes

_HEADLINES = {"mask": "AP", "box": "box_AP", "mask_iou": "mask_iou"}


def load_report_data(root: Path, params: Params) -> ReportData:
    """Read all that the report shows of `params.benchmark`; `root` is the repository.

    Rows come in the order of params.yaml, runs before baselines.  Raises UserError for a file that is
    missing or has another layout.
    """
    layout = Layout(root, params.benchmark)
    try:
        comparison = read_json(layout.comparison)
        rows = tuple(_row(layout, params, comparison, name) for name in (*params.rows, *params.untrained))
        ranked_by, scenes = _scenes(layout, params, rows)
        return ReportData(
            benchmark=params.benchmark,
            title=params.report.title,
            rows=rows,
            differences=_differences(comparison["differences"], "AP"),
            mask_iou_differences=_differences(comparison["mask_iou_differences"], "mask_iou"),
            pseudo_labels=tuple(
                load_set(layout, name, row, params.predict.labeling)
                for name, row in params.pseudo_labels.items()
            ),
            curves=_curves(layout, params),
            scenes=scenes,
            training_scenes=load_training_scenes(layout, params),
            summary=_summary(layout, params),
            ranked_by=ranked_by,
            stand_ins=tuple(
                name
                for name, run in params.rows.items()
                if params.starts[params.trained[run].backbone].kind == "shapes_pretraining"
            ),
            label_maps=load_label_maps(layout, params),
            pseudo_masks={name: load_pseudo_masks(layout, name) for name in params.pseudo_mask_quality},
        )
    except (KeyError, TypeError) as error:
        raise UserError(
            layout.reports,
            "",
            f"metrics, models and data do not fit ({type(error).__name__}: {error})",
            "run `dvc repro` to make them again",
        ) from error


def _row(layout: Layout, params: Params, comparison: dict[str, Any], name: str) -> Row:
    """One row from its metrics, its entry in the comparison and what params.yaml says of it."""
    metrics, compared = _metrics(layout, params, name), comparison["runs"][name]
    retention = compared["retention"]
    missing = list(metrics["not_computed"])
    if retention["reason"] and compared["oracle"] != "none":
        missing.append(f"retention: {retention['reason']}")
    headline, intervals = compared["headline"], compared["interval"]
    figures = {
        "name": name,
        "oracle": compared["oracle"],
        "metrics": _figures(metrics),
        "headline": _HEADLINES[metrics["headline"]],
        "seed_scores": {int(seed): value for seed, value in compared["seeds"][headline].items()},
        "interval": Interval.of(intervals[headline]),
        "mask_iou_interval": Interval.of(intervals["mask_iou"]),
        "retention": retention["value"],
        "retention_interval": Interval.of(retention["interval"]),
        "per_category": _per_category(metrics),
        "not_computed": tuple(missing),
    }
    if name in params.rows:
        return Row(**figures, **_of_run(layout, params, name))
    return Row(**figures, **_of_baseline(layout, params, params.untrained[name]))


def _metrics(layout: Layout, params: Params, name: str) -> dict[str, Any]:
    """What `evaluate` wrote of a row; a teacher's figures are a section of its run's."""
    run = params.rows.get(name, name)
    metrics: dict[str, Any] = read_json(layout.metrics(run))
    return metrics if run == name else dict(metrics["teacher"])


def _figures(metrics: dict[str, Any]) -> dict[str, float | None]:
    """The columns of results.csv, and box AP; None for a section that was not computed."""
    mask = metrics.get("mask", {})
    return {
        **{name: mask.get(name) for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")},
        "boundary_AP": metrics.get("boundary", {}).get("AP"),
        "box_AP": metrics.get("box", {}).get("AP"),
        "mask_iou": metrics.get("mask_iou", {}).get("mean"),
    }


def _per_category(metrics: dict[str, Any]) -> dict[str, float | None]:
    """Class -> headline figure; empty where it was not computed."""
    if metrics["headline"] == "mask_iou":
        return dict(metrics.get("mask_iou", {}).get("per_category", {}))
    return dict(metrics["per_category_AP"])


def _of_run(layout: Layout, params: Params, name: str) -> dict[str, Any]:
    source = params.rows[name]
    run = params.trained[source]
    taught = run.method in TAUGHT
    network = params.network(name) if taught else ""
    model = read_json(layout.model(source, run.seeds[0]) / "model.json")
    sections: dict[str, BaseModel] = {
        "run": run,
        "method": params.methods[run.settings],
        "model": params.models[run.model],
        "backbone": params.starts[run.backbone],
    }
    if run.labels in params.pseudo_labels:
        sections["pseudo_labels"] = params.pseudo_labels[run.labels]
    if run.labels in params.partial:
        sections["split"] = params.partial[run.labels]
    labelled = load_labelled(layout, params, run.labels)
    return {
        "title": f"{run.title}, its teacher" if network == "teacher" else run.title,
        "kind": "run",
        "task": run.task,
        "method": run.method,
        "model": run.model,
        "labels": run.labels,
        "supervision": labelled.supervision,
        "through": labelled.through,
        "separation": load_separation(layout, name) if name in params.separation else None,
        "seeds": run.seeds,
        "labelled_fraction": labelled.fraction,
        "labelled_images": labelled.images,
        "labelled_objects": labelled.objects,
        "train_images": model["train_images"],
        "unlabelled_images": read_json(layout.split_metrics(run.labels))["unlabelled"] if taught else None,
        "network": network,
        "params_million": model["parameters"] / 1e6,
        "settings": {key: section.model_dump() for key, section in sections.items()},
        "environment": model["environment"],
    }


def _of_baseline(layout: Layout, params: Params, baseline: Baseline) -> dict[str, Any]:
    """A baseline has the supervision, task and seeds of the run whose boxes it fills, and no network."""
    source = params.trained[baseline.detections]
    labelled = load_labelled(layout, params, source.labels)
    return {
        "title": baseline.title,
        "kind": "baseline",
        "task": source.task,
        "method": baseline.kind,
        "model": "",
        "labels": "",
        "supervision": labelled.supervision,
        "through": labelled.through,
        "seeds": source.seeds,
        "labelled_fraction": labelled.fraction if labelled.fraction < 1 else None,
        "settings": {"baseline": baseline.model_dump()},
    }


def _differences(items: list[dict[str, Any]], figure: str) -> tuple[Difference, ...]:
    return tuple(
        Difference(item["a"], item["b"], item[figure], Interval.of(item["interval"]), item["within_noise"])
        for item in items
        if item[figure] is not None
    )


def _curves(layout: Layout, params: Params) -> dict[str, tuple[Curve, ...]]:
    return {name: read_curve(layout.curve(name)) for name in params.trained}


def _scenes(layout: Layout, params: Params, rows: tuple[Row, ...]) -> tuple[str, tuple[Scene, ...]]:
    """The row that ranks the images and the gallery, both of the rows' first seeds.

    It is the first oracle, else the first run that detects, else the first run.  Without ground-truth masks
    the quality of masks in given boxes is unknown, and only a run that detects can rank.
    """
    annotations = read_json(layout.annotations("val"))
    masks = have_masks(annotations)
    able = [row for row in rows if row.kind == "run" and (row.detects or masks)]
    best = min(able, key=lambda row: (not row.is_oracle, not row.detects), default=None)
    ranked_by = best.name if best else ""
    store = ImageStore.open(layout.prepared / "val", layout.root)
    predictions = {row.name: _predictions(layout, row) for row in rows}
    return ranked_by, make_scenes(annotations, store, predictions, ranked_by, params.report.gallery)


def _predictions(layout: Layout, row: Row) -> Predictions:
    name = "detections.json" if row.detects else "in_boxes.json"
    path = layout.predictions(row.name, row.seeds[0]) / name
    return Predictions(lambda: read_json(path), in_boxes=not row.detects)


def _summary(layout: Layout, params: Params) -> DataSummary:
    summary = read_json(layout.summary)
    instances: dict[str, dict[str, int]] = {}
    for split, counts in summary["splits"].items():
        names = category_names(counts)
        for category in counts["categories"]:
            instances.setdefault(names[category["id"]], {})[split] = category["instances"]
    return DataSummary(
        {f"{name}.{key}": value for name, row in params.datasets for key, value in row.model_dump().items()},
        {split: _counts(counts) for split, counts in summary["splits"].items()},
        instances,
        tuple(summary["warnings"]),
    )


def _counts(counts: dict[str, Any]) -> dict[str, str]:
    """Counts of a split as text; those of the classes are shown apart."""
    texts = {name: f"{value:,}" for name, value in counts.items() if isinstance(value, int)}
    size = counts["median_size"]
    return {**texts, "median_size": f"{size['width']:g} × {size['height']:g}"}
