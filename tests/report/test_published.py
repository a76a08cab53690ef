"""Published figures: complete, sourced and set beside the right rows."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

from made_up import make_data

from pipeline.report.published import compare, read_published, what_differs


def test_every_figure_has_a_source_and_lies_in_percent() -> None:
    facts = read_published()
    assert len(facts) > 200
    for fact in facts:
        assert fact.source
        assert fact.value is None or 0 <= fact.value <= 100
        assert fact.retention is None or 50 < fact.retention <= 100


def test_holds_all_of_the_reference_table(shared_data: Path) -> None:
    with (shared_data / "reference" / "published.csv").open(encoding="utf-8", newline="") as file:
        wanted = list(csv.reader(file))
    with (Path(__file__).parents[2] / "pipeline/report/published.csv").open(
        encoding="utf-8", newline=""
    ) as file:
        assert list(csv.reader(file))[: len(wanted)] == wanted


def test_boxinst_at_1x_beside_its_oracle() -> None:
    figures = {
        (fact.method, fact.backbone): fact.value
        for fact in read_published()
        if fact.metric == "mask_AP" and fact.split == "val2017"
    }
    assert figures["BoxInst 1x", "ResNet-50"] == 30.7
    assert figures["CondInst 1x", "ResNet-50"] == 35.7
    assert figures["BoxInst 3x", "ResNet-101"] == 33.0


def test_rows_stand_beside_figures_of_their_own_method() -> None:
    condinst, boxinst, mal = compare(make_data(scenes=0))
    assert [row.name for row in mal.measured] == ["on_mal"]  # the labeler itself has no AP
    assert {fact.method.split()[0] for fact in mal.published} == {"MAL"}
    assert [row.name for row in condinst.measured] == ["oracle"]
    assert [row.name for row in boxinst.measured] == ["boxinst", "projection"]
    assert all(fact.method.startswith("BoxInst") and fact.metric == "mask_AP" for fact in boxinst.published)
    assert boxinst.differs == (
        "data: demo, 1,500 training images",
        "backbone: small",
        "schedule: 1,200 steps of 8 images",
    )


def test_a_schedule_in_epochs_says_so() -> None:
    data = make_data(scenes=0)
    train = {"duration": "epochs", "steps": 12, "batch_size": 16}
    row = replace(data.row("boxinst"), settings={"method": {"train": train}})
    assert what_differs(data, (row,))[-1] == "schedule: 12 epochs in batches of 16 images"
