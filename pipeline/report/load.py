"""From the files of a benchmark to `ReportData`."""

from __future__ import annotations

from typing import Any

from pathlib import Path

from pipeline.data.images import ImageStore
from pipeline.errors import UserError
from pipeline.evaluation.results import category_names
from pipeline.files import read_json
from pipeline.layout import Layout
from pipeline.params import Baseline, Params, Run
from pipeline.report.curves import read_curve
from pipeline.report.data import Curve, DataSummary, Difference, Interval, ReportData, Row, Scene
from pipeline.report.scenes import make_scenes

_HEADLINES = {"mask": "AP", "box": "box_AP"}


def load_report_data(root: Path, params: Params) -> ReportData:
    """Read all that the report shows of `params.benchmark`; `root` is the repository.

    Rows come in the order of params.yaml, runs before baselines.  Raises UserError for a file that is
    missing or has another layout.
    """
    layout = Layout(root, params.benchmark)
    try:
        comparison = read_json(layout.comparison)
        rows = tuple(_row(layout, params, comparison, name) for name in (*params.runs, *params.baselines))
        ranked_by, scenes = _scenes(layout, params, rows)
        return ReportData(
            benchmark=params.benchmark, title=params.report.title, rows=rows,
            differences=_differences(comparison), curves=_curves(layout, params), scenes=scenes,
            summary=_summary(layout, params), ranked_by=ranked_by,
            stand_ins=tuple(name for name, run in params.runs.items()
                            if params.backbones[run.backbone].kind == "shapes_pretraining"))
    except (KeyError, TypeError) as error:
        raise UserError(layout.reports, "", f"metrics, models and data do not fit ({type(error).__name__}: {error})",
                        "run `dvc repro` to make them again") from error


def _row(layout: Layout, params: Params, comparison: dict[str, Any], name: str) -> Row:
    """One row from its metrics, its entry in the comparison and what params.yaml says of it."""
    metrics, compared = read_json(layout.metrics(name)), comparison["runs"][name]
    retention = compared["retention"]
    missing = list(metrics["not_computed"])
    if retention["reason"] and compared["oracle"] != "none":
        missing.append(f"retention: {retention['reason']}")
    figures = dict(
        name=name, oracle=compared["oracle"], metrics=_figures(metrics), headline=_HEADLINES[metrics["headline"]],
        seed_scores={int(seed): value for seed, value in compared["seeds"]["AP"].items()},
        interval=_interval(compared["interval"]["AP"]), retention=retention["value"],
        retention_interval=_interval(retention["interval"]), per_category=metrics["per_category_AP"],
        not_computed=tuple(missing))
    if name in params.runs:
        return Row(**figures, **_of_run(layout, params, name, params.runs[name]))
    return Row(**figures, **_of_baseline(params, params.baselines[name]))


def _figures(metrics: dict[str, Any]) -> dict[str, float | None]:
    """The columns of results.csv, and box AP; None for a section that was not computed."""
    mask = metrics.get("mask", {})
    return {**{name: mask.get(name) for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")},
            "boundary_AP": metrics.get("boundary", {}).get("AP"), "box_AP": metrics["box"]["AP"],
            "mask_iou": metrics.get("mask_iou", {}).get("mean")}


def _of_run(layout: Layout, params: Params, name: str, run: Run) -> dict[str, Any]:
    model = read_json(layout.model(name, run.seeds[0]) / "model.json")
    sections = {"run": run, "method": params.methods[run.settings], "model": params.models[run.model],
                "backbone": params.backbones[run.backbone]}
    return dict(
        title=run.title, kind="run", task=run.task, method=run.method, model=run.model, labels=run.labels,
        supervision=params.labels[run.labels].kind, seeds=run.seeds, labelled_fraction=1.0,
        train_images=model["train_images"], params_million=model["parameters"] / 1e6,
        settings={key: section.model_dump() for key, section in sections.items()},
        environment=model["environment"])


def _of_baseline(params: Params, baseline: Baseline) -> dict[str, Any]:
    """A baseline has the supervision, task and seeds of the run whose boxes it fills, and no network."""
    source = params.runs[baseline.detections]
    return dict(title=baseline.title, kind="baseline", task=source.task, method=baseline.kind, model="", labels="",
                supervision=params.labels[source.labels].kind, seeds=source.seeds,
                settings={"baseline": baseline.model_dump()})


def _interval(limits: list[float] | None) -> Interval | None:
    return Interval(*limits) if limits else None


def _differences(comparison: dict[str, Any]) -> tuple[Difference, ...]:
    return tuple(Difference(item["a"], item["b"], item["AP"], _interval(item["interval"]), item["within_noise"])
                 for item in comparison["differences"] if item["AP"] is not None)


def _curves(layout: Layout, params: Params) -> dict[str, tuple[Curve, ...]]:
    return {name: read_curve(layout.curve(name)) for name in params.runs}


def _scenes(layout: Layout, params: Params, rows: tuple[Row, ...]) -> tuple[str, tuple[Scene, ...]]:
    """The row that ranks the images (the first oracle, else the first run) and the gallery; first seeds."""
    runs = [row for row in rows if row.kind == "run"]
    ranked_by = next((row.name for row in runs if row.is_oracle), runs[0].name if runs else "")
    detections = {row.name: layout.predictions(row.name, row.seeds[0]) / "detections.json" for row in rows}
    readers = {name: lambda path=path: read_json(path) for name, path in detections.items()}
    scenes = make_scenes(read_json(layout.annotations("val")), ImageStore.open(layout.prepared / "val", layout.root),
                         readers, ranked_by, params.report.gallery)
    return ranked_by, scenes


def _summary(layout: Layout, params: Params) -> DataSummary:
    summary = read_json(layout.summary)
    sources = {**params.generate, **params.import_coco}
    instances: dict[str, dict[str, int]] = {}
    for split, counts in summary["splits"].items():
        names = category_names(counts)
        for category in counts["categories"]:
            instances.setdefault(names[category["id"]], {})[split] = category["instances"]
    return DataSummary({f"{name}.{key}": value for name, row in sources.items() for key, value in row.model_dump().items()},
                       {split: _counts(counts) for split, counts in summary["splits"].items()}, instances,
                       tuple(summary["warnings"]))


def _counts(counts: dict[str, Any]) -> dict[str, str]:
    """Counts of a split as text; those of the classes are shown apart."""
    texts = {name: f"{value:,}" for name, value in counts.items() if isinstance(value, int)}
    size = counts["median_size"]
    return {**texts, "median_size": f"{size['width']:g} × {size['height']:g}"}
