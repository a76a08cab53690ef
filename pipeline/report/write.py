"""Writing the report: index.html, report.md, results.csv and figures/, the same bytes for the same data."""

from __future__ import annotations

from pathlib import Path

from pipeline.files import replacing, write_text
from pipeline.report import bars, figures, gallery, label_charts, learning, palette, pseudo_masks
from pipeline.report.data import ReportData
from pipeline.report.markdown import report_md
from pipeline.report.page import page_html
from pipeline.report.semantic_pictures import semantic_figures
from pipeline.report.table import results_csv


def write_report(data: ReportData, out: Path) -> None:
    """Write index.html, report.md, results.csv and figures/*.png into `out`.

    Each file is replaced atomically; a figure of an earlier report that is not made any more is removed.
    Nothing else in `out` (metrics/, curves/, cost.csv) is touched, and no time stamp is written.
    """
    pictures = draw_pictures(data)
    page, text = page_html(data), report_md(data, pictures)
    folder = out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in pictures.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)
    for old in sorted(folder.glob("*.png")):
        if old.name not in pictures:
            old.unlink()
    write_text(out / "results.csv", results_csv(data))
    write_text(out / "report.md", text)
    write_text(out / "index.html", page)


def draw_pictures(data: ReportData) -> dict[str, bytes]:
    """File name -> PNG, of the figures that have something to show."""
    made: dict[str, bytes] = {}
    with figures.settings():
        for name, (_, figure) in bars.bar_charts(data).items():
            made[f"{name}.png"] = figures.png(figure)
        for name, figure in label_charts.label_pictures(data).items():
            made[f"{name}.png"] = figures.png(figure)
        if chart := pseudo_masks.pseudo_mask_picture(data):
            made["pseudo_masks.png"] = figures.png(chart)
        if terms := learning.curve_lines(data.curves, palette.row_slots(data)):
            titles = {row.name: row.title for row in data.rows}
            made["curves.png"] = figures.png(learning.curve_figure(terms, titles))
        if data.scenes:
            made["gallery.png"] = figures.png(gallery.gallery_figure(data))
        if data.label_maps:
            drawn = semantic_figures(data.label_maps)
            made |= {f"{name}.png": figures.png(figure) for name, figure in drawn.items()}
            made |= {prior.file: prior.png for prior in data.label_maps.priors}
    return made
