"""index.html: one self-contained page, made by a Jinja template that escapes everything."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from pipeline.report import (
    bars,
    figures,
    gallery,
    label_charts,
    learning,
    palette,
    pseudo_masks,
    semantic_tables,
)
from pipeline.report.data import ReportData, Row, Scene
from pipeline.report.published import compare
from pipeline.report.semantic_pictures import confused, semantic_figures
from pipeline.report.templates import content, environment
from pipeline.report.words import leading_row, number, span


def page_html(data: ReportData) -> str:
    """The report as HTML that needs no other file and no network."""
    slots = palette.row_slots(data)
    return (
        environment(autoescape=True)
        .get_template("page.html.j2")
        .render(
            **content(data),
            palette_size=len(palette.RUNS),
            slots={name: slot % len(palette.RUNS) for name, slot in slots.items()},
            style=_asset("style.css"),
            script=_asset("sort.js"),
            leading=leading_row(data),
            tiles=tiles(data),
            bars=_bars(data),
            label_charts=_label_charts(data),
            pseudo_mask_charts=_pseudo_mask_charts(data),
            curves=_curves(data),
            scenes=_scenes(data),
            training_scenes=_training_scenes(data),
            truth_has_masks=_truth_has_masks(data),
            compared=compare(data),
            source=flat(data.summary.source),
            settings={row.name: _marked_settings(data, row) for row in data.rows},
            titles={row.name: row.title for row in data.rows},
            **_semantic(data),
        )
    )


def _asset(name: str) -> Markup:
    """A style or script of this package, which goes into the page as it is."""
    return Markup(files("pipeline.report").joinpath(name).read_text(encoding="utf-8"))


def tiles(data: ReportData) -> list[tuple[str, str, str]]:
    """The headline figures as (what it is, figure, interval or note)."""
    best = leading_row(data)
    labeler = max(data.labelers, key=_score, default=None)
    shown = []
    if best is not None:
        shown.append(_score_tile(f"{data.headline} of {best.title}", best))
        if best.retention is not None and not best.is_oracle:
            oracle = data.row(best.oracle)
            shown.insert(0, _retention_tile(best))
            shown.append(_score_tile(f"{data.headline} of the oracle, {oracle.title}", oracle))
        untrained = [row for row in data.headline_rows if row.kind == "baseline" and row.score is not None]
        if untrained:
            top = max(untrained, key=_score)
            shown.append(_score_tile(f"{data.headline} of {top.title}, without training", top))
    if labeler is not None and labeler.score is not None:
        shown.append(_score_tile(f"mask IoU of {labeler.title}, in ground-truth boxes", labeler))
    if data.label_maps and (known := semantic_tables.tile(data.label_maps)):
        shown.append(known)
    return shown


def _score(row: Row) -> float:
    return row.score or 0.0


def _score_tile(label: str, row: Row) -> tuple[str, str, str]:
    return label, number(row.score), f"95 %: {span(row.interval)}" if row.interval else ""


def _retention_tile(row: Row) -> tuple[str, str, str]:
    inside = f"95 %: {span(row.retention_interval, 0)} %" if row.retention_interval else ""
    return f"of the oracle's AP, reached by {row.title}", f"{number(row.retention, 0)} %", inside


def _bars(data: ReportData) -> list[tuple[str, Markup]]:
    """(caption, SVG) of the bar charts."""
    with figures.settings():
        return [
            (caption, Markup(figures.svg(figure, name)))
            for name, (caption, figure) in bars.bar_charts(data).items()
        ]


def _label_charts(data: ReportData) -> dict[str, list[Markup]]:
    """Name -> SVGs of the figures on labels and their cost."""
    with figures.settings():
        return {
            name: [Markup(figures.svg(figure, f"{name}{index}")) for index, figure in enumerate(parts)]
            for name, parts in label_charts.label_panels(data).items()
        }


def _pseudo_mask_charts(data: ReportData) -> list[Markup]:
    """SVGs of how many boxes had a pseudo mask, and how good it was, over the training."""
    with figures.settings():
        return [
            Markup(figures.svg(figure, f"pseudo-masks{index}"))
            for index, figure in enumerate(pseudo_masks.pseudo_mask_panels(data))
        ]


def _curves(data: ReportData) -> list[tuple[str, Markup]]:
    """(term, SVG) of every learning curve panel."""
    terms = learning.curve_lines(data.curves, palette.row_slots(data))
    with figures.settings():
        return [
            (name, Markup(figures.svg(learning.curve_panel(name, lines), f"curve{index}")))
            for index, (name, lines) in enumerate(terms.items())
        ]


def _semantic(data: ReportData) -> dict[str, Any]:
    """Drawings of the semantic task, and the settings of its rows; empty ones without it."""
    maps = data.label_maps
    if maps is None:
        empty: dict[str, Any] = {"semantic_drawings": {}, "semantic_curves": [], "semantic_priors": {}}
        return {**empty, "confused": [], "semantic_settings": {}}
    with figures.settings():
        drawn = semantic_figures(maps)
        sheet = figures.png(drawn["label_maps"]) if "label_maps" in drawn else b""
        terms = learning.curve_lines(maps.curves, maps.slots)
        return {
            "semantic_drawings": {
                name: Markup(figures.svg(figure, name))
                for name, figure in drawn.items()
                if name not in ("label_maps", "label_map_curves")
            },
            "semantic_curves": [
                (name, Markup(figures.svg(learning.curve_panel(name, lines), f"map-curve{index}")))
                for index, (name, lines) in enumerate(terms.items())
            ],
            "semantic_gallery": gallery.png_uri(sheet),
            "semantic_priors": {
                kind: [(prior, gallery.png_uri(prior.png)) for prior in maps.priors if prior.kind == kind]
                for kind in ("segments", "cams")
            },
            "confused": confused(maps),
            "semantic_settings": {
                row.name: {section: flat(values) for section, values in row.settings.items()}
                for row in maps.rows
            },
        }


def _scenes(data: ReportData) -> list[dict[str, Any]]:
    """Each scene with its pictures and what is said of every row."""
    colors = gallery.class_colors(data)
    return [
        {
            **_pictures(scene, colors),
            "notes": {row.name: gallery.row_note(data, scene, row) for row in data.rows},
        }
        for scene in data.scenes
    ]


def _training_scenes(data: ReportData) -> list[dict[str, Any]]:
    """Each training image with its pictures and what is said of every set of pseudo-labels."""
    colors = gallery.class_colors(data)
    return [
        {
            **_pictures(scene, colors),
            "notes": {name: gallery.set_note(scene, name) for name in scene.predictions},
        }
        for scene in data.training_scenes
    ]


def _pictures(scene: Scene, colors: dict[str, str]) -> dict[str, Any]:
    """A scene's pictures as data: URIs; the image is stored once, below all overlays."""
    image = gallery.shown_image(scene)
    return {
        "scene": scene,
        "image": gallery.data_uri(image),
        "size": image.shape[1::-1],
        "sharp": max(scene.image.shape[:2]) <= gallery.LOSSLESS_SIDE,
        "truth": gallery.data_uri(gallery.objects_overlay(scene, scene.truth, colors)),
        "objects": [(name, count, colors[name]) for name, count in gallery.count_objects(scene.truth)],
        "rows": {
            name: gallery.data_uri(gallery.row_overlay(scene, name, colors)) for name in scene.predictions
        },
    }


def _truth_has_masks(data: ReportData) -> bool:
    return all(shape.mask is not None for scene in data.scenes for shape in scene.truth)


def _marked_settings(data: ReportData, row: Row) -> dict[str, list[tuple[str, str, bool]]]:
    """Section -> (key, value, whether it differs from the oracle's), nested keys joined by dots."""
    other = data.row(row.oracle).settings if row.oracle in {item.name for item in data.rows} else {}
    return {
        section: [
            (key, text, section in other and flat(other[section]).get(key) != text)
            for key, text in flat(values).items()
        ]
        for section, values in row.settings.items()
    }


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as one level of text: {"train": {"steps": 5}} -> {"train.steps": "5"}."""
    result: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            result[f"{prefix}{key}"] = ", ".join(str(item) for item in value) or "none"
        else:
            result[f"{prefix}{key}"] = str(value)
    return result
