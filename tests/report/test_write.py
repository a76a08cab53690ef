"""The written report: which files, self-contained, escaped, the same every time."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_up import (
    make_data,
    make_pseudo_labels,
    make_row,
    make_scene,
    make_shape,
    make_split_data,
    make_training_scene,
)

from pipeline.report.data import DataSummary, ReportData
from pipeline.report.markdown import report_md
from pipeline.report.page import flat, page_html
from pipeline.report.write import write_report

EVIL = '<script>alert("x")</script>|*b* $\\frac{a}$ ]('


@pytest.fixture(scope="module")
def data() -> ReportData:
    return make_data(scenes=1)


@pytest.fixture(scope="module")
def out(data: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    (folder / "figures").mkdir()
    (folder / "figures" / "old.png").write_bytes(b"")
    (folder / "cost.csv").write_text("run\n", encoding="utf-8")
    write_report(data, folder)
    return folder


class Page(HTMLParser):
    """Tags, what they link to and what a browser would load by itself."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = {key: value or "" for key, value in attrs}
        self.loads += [named["src"]] if "src" in named else []
        if tag == "a":
            self.links.append(named["href"])
        elif "href" in named and not named["href"].startswith("#"):
            self.loads.append(named["href"])
        self.ids += [named["id"]] if "id" in named else []


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_writes_its_files_and_touches_no_other(out: Path) -> None:
    assert sorted(contents(out)) == [
        "cost.csv",
        "figures/annotation_cost.png",
        "figures/ap.png",
        "figures/curves.png",
        "figures/gallery.png",
        "figures/mask_iou.png",
        "figures/retention.png",
        "index.html",
        "report.md",
        "results.csv",
    ]


def test_the_same_data_give_the_same_bytes(out: Path, data: ReportData, tmp_path: Path) -> None:
    write_report(data, tmp_path)
    expected = contents(out)
    expected.pop("cost.csv")
    assert contents(tmp_path) == expected


def test_no_picture_holds_a_date_or_a_version(out: Path) -> None:
    for path in (out / "figures").glob("*.png"):
        assert not re.search(rb"tEXt|iTXt|tIME|[Mm]atplotlib", path.read_bytes())


def test_the_page_loads_nothing_from_elsewhere(out: Path) -> None:
    text = (out / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.loads
    assert all(address.startswith("data:") for address in page.loads)
    assert "url(data:image" in text
    assert not re.search(r"url\((?!data:|#)|@import", text)
    assert "default-src 'none'" in text


def test_links_lead_to_sections_and_files_beside_the_page(out: Path) -> None:
    page = Page((out / "index.html").read_text(encoding="utf-8"))
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        assert link[1:] in page.ids if link.startswith("#") else not re.match(r"/|\w+:", link)
    assert {"results.csv", "report.md", "cost.csv"} <= set(page.links)


def test_the_page_holds_every_row_and_figure(out: Path, data: ReportData) -> None:
    text = (out / "index.html").read_text(encoding="utf-8")
    for row in data.rows:
        assert f'data-value="{row.title}"' in text
        assert f'data-value="{row.score}"' in text
    for word in (
        "84.9 to 95.9",
        "within noise",
        "AdelaiDet configs/BoxInst/README.md",
        "train.batch_size",
        "dvc repro",
    ):
        assert word in text


def test_names_with_html_and_markup_show_as_they_are(tmp_path: Path) -> None:
    row = replace(
        make_row("boxinst"),
        labels="",
        title=EVIL,
        oracle="none",
        retention=None,
        per_category={EVIL: 1.0},
        environment={EVIL: EVIL},
    )
    scene = make_scene(1, "best")
    scene = replace(
        scene,
        file_name=EVIL,
        truth=(make_shape(EVIL, scene.truth[0].mask),),
        predictions={"boxinst": ()},
        quality={},
    )
    data = replace(
        make_data(scenes=0),
        title=EVIL,
        rows=(row,),
        differences=(),
        mask_iou_differences=(),
        pseudo_labels=(replace(make_pseudo_labels(), name=EVIL, labeler="boxinst", not_computed=(EVIL,)),),
        curves={},
        scenes=(scene,),
        stand_ins=(),
        ranked_by="boxinst",
        summary=DataSummary({EVIL: EVIL}, {EVIL: {EVIL: EVIL}}, {EVIL: {}}, (EVIL,)),
    )
    write_report(data, tmp_path)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert Page(text).tags.count("script") == 1
    assert "<script>" not in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_box_figures_alone_make_a_report(tmp_path: Path) -> None:
    """No masks in val: nothing about masks is claimed, objects are outlined by their boxes."""
    rows = tuple(
        replace(
            make_row(name), headline="box_AP", metrics={"box_AP": 40.0}, not_computed=("mask: needs masks",)
        )
        for name in ("oracle", "boxinst")
    )
    scene = make_scene(1, "best")
    scene = replace(scene, truth=tuple(replace(shape, mask=None) for shape in scene.truth))
    data = replace(make_data(0), rows=rows, curves={}, stand_ins=(), scenes=(scene,), ranked_by="oracle")
    write_report(
        replace(data, differences=(), mask_iou_differences=(), pseudo_labels=()),
        tmp_path,
    )
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "Not computed: mask: needs masks" in text
    assert "mask AP of" not in text
    assert "false alarm" not in text


def test_labelers_alone_without_any_ground_truth_masks_make_a_report(tmp_path: Path) -> None:
    """Boxes alone, in both splits: nothing is measured, and the masks can still be judged by eye."""
    row = replace(
        make_row("mal"), metrics={"mask_iou": None}, interval=None, mask_iou_interval=None, per_category={}
    )
    scene = replace(make_scene(1, "sample"), quality={"mal": None})
    scene = replace(scene, truth=tuple(replace(shape, mask=None) for shape in scene.truth))
    made = replace(
        make_pseudo_labels(),
        compared=0,
        figures={},
        intervals={},
        not_computed=("mask_iou: needs ground-truth masks, which all 5346 objects lack",),
    )
    data = replace(make_data(0), rows=(row,), curves={}, differences=(), mask_iou_differences=())
    training = make_training_scene(7)
    data = replace(data, pseudo_labels=(made,), scenes=(scene,), ranked_by="", stand_ins=())
    data = replace(data, training_scenes=(training,))
    write_report(data, tmp_path)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "No mask IoU could be computed" in text
    assert "evenly spread, since without ground-truth masks none can be called best or worst" in text
    assert "judge the masks by eye: the report&#39;s page shows them on training images" in text
    assert f"{training.file_name} <small>image 7" in text
    assert 'alt="Masks of mal_masks"' in text
    assert "false alarm" not in text
    assert "best IoU with a shown detection" not in text
    assert "judge the masks by eye" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_rows_of_both_tasks_stand_in_the_right_tables(out: Path) -> None:
    text = (out / "index.html").read_text(encoding="utf-8")
    assert "boxes, through mal" in text
    assert "82.2 to 83.9" in text
    by_ap, by_iou = re.findall(r'<table class="by-class">.*?</table>', text, re.DOTALL)
    assert "MAL labeler" not in by_ap
    assert "MAL labeler" in by_iou
    assert "CondInst, masks" not in by_iou
    assert text.index("Differences of mask AP") < text.index("Differences of mask IoU")
    (sets,) = re.findall(r'<table id="sets">.*?</table>', text, re.DOTALL)
    assert "MAL labeler, seed 0, on boxes; flipped crops too" in sets
    assert "12 left out, 3 empty" in sets


def test_an_empty_comparison_makes_a_report(tmp_path: Path) -> None:
    empty = ReportData("demo", "Nothing yet", (), (), {}, (), DataSummary({}, {}, {}, ()))
    write_report(empty, tmp_path)
    assert sorted(contents(tmp_path)) == ["index.html", "report.md", "results.csv"]


def test_markdown_links_only_pictures_that_exist(out: Path, data: ReportData) -> None:
    text = (out / "report.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\((figures/[^)]*)\)", text)
    for target in re.findall(r"\]\(([^)]*)\)", text):
        assert (out / target).is_file()
    assert "figures/" not in report_md(data, [])


def test_markdown_tables_have_as_many_cells_in_every_line(out: Path) -> None:
    tables = re.findall(r"(?:^\|.*\n)+", (out / "report.md").read_text(encoding="utf-8"), re.MULTILINE)
    # rows, differences of AP and of mask IoU, cost, pseudo-labels, clustering scores, classes by both
    assert len(tables) == 8
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_partly_labelled_rows_have_their_section(tmp_path: Path) -> None:
    data = make_split_data()
    evil = tuple(replace(row, title=f"{EVIL}, {row.title}") for row in data.rows)
    write_report(replace(data, rows=evil), tmp_path)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert '<a href="#labels">' in text
    (table,) = re.findall(r'<table id="efficiency">.*?</table>', text, re.DOTALL)
    assert table.count("<tr>") == 1 + 8
    assert re.search(r"<figure[^>]*mask AP over the share of training images[^>]*>\s*<div><svg", text)
    (table,) = re.findall(r'<table id="cost">.*?</table>', text, re.DOTALL)
    assert "MAL labeler" not in table  # it has no AP to set against its cost
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "](figures/label_efficiency.png)" in markdown
    assert "](figures/annotation_cost.png)" in markdown
    assert "## Label efficiency" in markdown
    assert "22 worker hours per 1,000" in markdown


def test_settings_that_differ_from_the_oracle_are_marked(data: ReportData) -> None:
    marked = re.findall(r'<dt class="differs">([^<]*)</dt><dd>([^<]*)', page_html(replace(data, scenes=())))
    assert ("pairwise_weight", "0.0") in marked
    assert ("fpn_channels", "48") not in marked


def test_nested_settings_become_dotted_keys() -> None:
    assert flat({"a": {"b": (1, 2), "c": ()}, "d": None}) == {"a.b": "1, 2", "a.c": "none", "d": "None"}
