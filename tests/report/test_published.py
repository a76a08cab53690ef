"""Published figures: complete, sourced and set beside the right rows."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

from made_up import make_data, make_split_data

from pipeline.params.methods import ARCHITECTURES
from pipeline.report.published import METHODS, NETWORKS, compare, read_published, what_differs


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


def test_methods_and_networks_are_called_as_in_params() -> None:
    assert METHODS.keys() <= ARCHITECTURES.keys()
    assert NETWORKS.keys() <= set(ARCHITECTURES["supervised"])
    names = {fact.method.split(" 1x")[0].split(" 3x")[0] for fact in read_published()}
    assert {*METHODS.values(), *NETWORKS.values()} <= names


def test_boxteacher_on_each_backbone() -> None:
    figures = {
        (fact.method, fact.backbone): fact.value
        for fact in read_published()
        if fact.paper.startswith("BoxTeacher") and fact.split == "val2017"
    }
    assert figures == {
        ("BoxTeacher 1x", "ResNet-50"): 32.6,
        ("BoxTeacher 3x", "ResNet-50"): 34.9,
        ("BoxTeacher 3x", "ResNet-101"): 36.2,
        ("BoxTeacher 3x", "ResNet-101-DCN"): 37.2,
        ("BoxTeacher 3x", "Swin-Base"): 40.2,
    }


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


def test_guided_distillation_stands_beside_what_its_authors_state() -> None:
    compared = {item.method: item for item in compare(make_split_data())}
    guided = compared["Guided Distillation"]
    assert [row.name for row in guided.measured] == ["guided_1", "guided_4", "guided_10"]
    assert {(fact.dataset, fact.labels): fact.value for fact in guided.published} == {
        ("COCO", "masks, 0.4 %"): 31.0,
        ("COCO", "masks, 1 %"): 34.1,
        ("Cityscapes", "masks, 10 %"): 33.9,
    }
    assert "labels: masks of 1 %, 4 %, 10 % of the images" in guided.differs
    assert guided.differs[-1] == "evaluation: COCO's rules, where figures on Cityscapes are by its own"
    mask2former = compared["Mask2Former"]
    assert [row.name for row in mask2former.measured] == ["full"]  # figures of all masks
    assert {fact.labels for fact in mask2former.published} == {"masks"}


def test_figures_that_only_a_listing_states_are_not_quoted() -> None:
    """Of the authors' tables at 1 to 10 %, only third-party listings were at hand."""
    facts = [fact for fact in read_published() if fact.method == "Guided Distillation"]
    assert not {fact.value for fact in facts} & {21.5, 25.3, 29.9, 35.0, 38.2, 41.6, 43.1}
