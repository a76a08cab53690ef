"""Supervision can't leak in the semantic task: its pipeline is walked, and broken ones are caught."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.params import Params
from pipeline.params_file import load_params
from pipeline.workflow.dag import (
    Dag,
    dependencies,
    find_leaks,
    mask_files,
    producers,
    read_dag,
    semantic_stages,
)
from tests.workflow.repository import (
    add_semantic,
    copy_pipeline,
    import_from,
    with_dep,
)

MAPS = (
    "{folder: data/streets, train_list: a, val_list: b, classes: [a, b], background: true, ignore: [],"
    " processes: 1}"
)


@pytest.mark.parametrize(
    ("table", "row", "part"),
    [
        ("import_maps", MAPS, "data/streets/labels"),
        ("import_voc", "{folder: data/voc, processes: 1}", "data/voc/SegmentationClass"),
        ("import_voc_sbd", "{folder: data/voc, extra: data/sbd, processes: 1}", "data/voc/SegmentationClass"),
        ("import_voc_sbd", "{folder: data/voc, extra: data/sbd, processes: 1}", "data/sbd/cls"),
    ],
)
def test_maps_in_a_folder_of_the_user_are_no_contours(
    repository: Path, table: str, row: str, part: str
) -> None:
    add_semantic(repository)
    import_from(repository, table, row)
    params = load_params(repository / "params.yaml")
    assert find_leaks(read_dag(repository), params) == []
    dag = with_dep(read_dag(repository), "segments@fine", part)
    assert any(
        leak.startswith("train_embeddings@of_points") and leak.endswith(part)
        for leak in find_leaks(dag, params)
    )


@pytest.mark.parametrize("path", ["data/mine", "data/drawn/1.xml"])
def test_labels_that_people_drew_are_no_contours(semantic: tuple[Dag, Params], path: str) -> None:
    dag, params = semantic
    leaks = find_leaks(with_dep(dag, "segments@fine", path), params)
    assert any(leak.startswith("train_embeddings@of_tags") and leak.endswith(path) for leak in leaks)


@pytest.fixture(scope="module")
def semantic(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Dag, Params]:
    """The demo with rows of the semantic task: label maps, class activation maps, and labels made of them."""
    folder = copy_pipeline(root, tmp_path_factory.mktemp("semantic"))
    add_semantic(folder)
    return read_dag(folder), load_params(folder / "params.yaml")


MAPS_OF_TAGS = ("train_cams@plain", "cams@plain", "refined_cams@spread", "tag_cam_labels@from_tags")
MAPS_OF_BOXES = "box_cam_labels@from_boxes"


def test_stages_of_maps_see_tags_and_the_named_boxes_alone(semantic: tuple[Dag, Params]) -> None:
    """The files that they may open, spelled out."""
    dag, params = semantic
    assert find_leaks(dag, params) == []
    files = {
        "train_cams@plain": {"prepared/train", "labels/tags", "backbones/shapes_pretrained"},
        "cams@plain": {"prepared/train", "labels/tags", "classifiers/plain"},
        "refined_cams@spread": {
            *("prepared/train", "labels/tags", "cams/plain", "backbones/shapes_pretrained")
        },
        "tag_cam_labels@from_tags": {"labels/tags", "cams/spread"},
        "box_cam_labels@from_boxes": {"labels/tags", "labels/boxes", "cams/plain"},
    }
    assert files.keys() == {*MAPS_OF_TAGS, MAPS_OF_BOXES}
    assert files.keys() < semantic_stages(params).keys()
    for stage, names in files.items():
        found = {dep for dep in dag[stage].deps if dep.startswith("data/")}
        assert found == {f"data/demo/{name}" for name in names}
    theirs = {"data/mine", "data/drawn"}
    assert theirs < mask_files(params)
    assert all(list(producers(dag, path)) for path in mask_files(params) - theirs)


@pytest.mark.parametrize(
    "dep",
    [
        *("semantic/train", "semantic/val", "semantic", "prepared/annotations/train.json", "prepared"),
        *("labels/pixels", "labels/pixels/maps", "labels/mine", "labels/drawn", "labels/masks", "labels"),
        *("labels/masks_4", "labels/val_boxes", "labels/from_boxes", "models/oracle", "predictions/oracle"),
    ],
)
@pytest.mark.parametrize("stage", [*MAPS_OF_TAGS, MAPS_OF_BOXES])
def test_labels_beyond_those_of_a_stage_of_maps_are_found(
    semantic: tuple[Dag, Params], stage: str, dep: str
) -> None:
    dag, params = semantic
    leaks = find_leaks(with_dep(dag, stage, f"data/demo/{dep}"), params)
    assert any(leak.startswith(f"{stage} can read labels that are not its own") for leak in leaks)


@pytest.mark.parametrize("stage", MAPS_OF_TAGS)
def test_boxes_are_a_leak_where_tags_alone_are_given(semantic: tuple[Dag, Params], stage: str) -> None:
    dag, params = semantic
    leaks = find_leaks(with_dep(dag, stage, "data/demo/labels/boxes"), params)
    assert any(leak.startswith(stage) and leak.endswith("data/demo/labels/boxes") for leak in leaks)
    assert "data/demo/labels/boxes" in dag[MAPS_OF_BOXES].deps


def test_a_leak_into_the_classifier_is_one_into_all_that_is_made_of_it(semantic: tuple[Dag, Params]) -> None:
    dag, params = semantic
    leaks = find_leaks(with_dep(dag, "train_cams@plain", "data/demo/labels/pixels"), params)
    assert {leak.split()[0] for leak in leaks} == {
        *(*MAPS_OF_TAGS, MAPS_OF_BOXES, "train_embeddings@of_tags", "spread_cam_labels@spread_tags"),
        *("train_classifiers@spml_tags", "predict_classifiers@spml_tags", "retrieved_labels@second_tags"),
        *("train_classifiers@spml_second_tags", "predict_classifiers@spml_second_tags"),
    }


@pytest.mark.parametrize(
    "dep",
    ["semantic/train", "semantic/val", "labels/pixels", "labels/drawn", "labels/drawn/maps", "labels/mine"],
)
@pytest.mark.parametrize("stage", ["train@boxinst", "predict@boxinst", "pseudo_labels@mal_masks"])
def test_shapes_of_the_semantic_task_are_a_leak_for_boxes(
    semantic: tuple[Dag, Params], stage: str, dep: str
) -> None:
    dag, params = semantic
    leaks = find_leaks(with_dep(dag, stage, f"data/demo/{dep}"), params)
    assert any(leak.startswith(f"{stage} can read masks") and dep in leak for leak in leaks)


def test_semantic_stages_see_their_own_labels(semantic: tuple[Dag, Params]) -> None:
    dag, params = semantic
    assert find_leaks(dag, params) == []
    before = dependencies(dag)
    assert "own_maps@mine" in before["train_embeddings@of_points"]
    assert before["spread_labels@spread_points"] >= {"train_embeddings@of_points", "own_maps@mine"}
    assert before["spread_cam_labels@spread_tags"] >= {"train_embeddings@of_tags", "cams@plain"}
    assert before["spread_segment_labels@segment_points"] >= {
        *("train_embeddings@of_points", "own_maps@mine", "segments@fine")
    }
    assert before["retrieved_labels@second_tags"] >= {
        *("train_embeddings@of_tags", "train_classifiers@spml_tags", "weak_labels@tags")
    }
    assert "retrieved_labels@second_tags" in before["train_classifiers@spml_second_tags"]
    assert "spread_labels@spread_points" in before["train_classifiers@spml_points"]
    assert "train_classifiers@spml_points" in before["predict_classifiers@spml_points"]
    assert before["train_semantic@all_pixels"] >= {"weak_labels@pixels", "backbones@shapes_pretrained"}


@pytest.mark.parametrize(
    ("stage", "dep"),
    [
        ("train_embeddings@of_points", "data/demo/labels/pixels"),
        ("train_embeddings@of_points", "data/demo/semantic/train"),
        ("train_embeddings@of_points", "data/demo/evaluation/previews.train/cams-from_tags.png"),
        ("train_embeddings@of_tags", "data/demo/labels/mine"),
        ("train_embeddings@of_tags", "data/demo/labels/boxes/labels.json"),
        ("spread_labels@spread_points", "data/demo/labels/tags"),
        ("spread_labels@spread_points", "data/demo/cams/plain"),
        ("spread_cam_labels@spread_tags", "data/demo/labels/spread_points/maps"),
        ("spread_cam_labels@spread_tags", "data/demo/models/of_points"),
        ("spread_segment_labels@segment_points", "data/demo/labels/pixels"),
        ("spread_segment_labels@segment_points", "data/demo/labels/spread_points"),
        ("spread_segment_labels@segment_points", "data/demo/models/all_pixels"),
        ("retrieved_labels@second_tags", "data/demo/labels/mine/maps"),
        ("retrieved_labels@second_tags", "data/demo/labels/boxes/labels.json"),
        ("retrieved_labels@second_tags", "data/demo/models/spml_points"),
        ("retrieved_labels@second_tags", "data/demo/semantic/train"),
        ("train_classifiers@spml_second_tags", "data/demo/labels/spread_points"),
        ("train_classifiers@spml_points", "data/demo/labels/pixels"),
        ("train_classifiers@spml_points", "data/demo/labels/spread_tags"),
        ("train_classifiers@spml_tags", "data/demo/models/all_pixels"),
        ("predict_classifiers@spml_points", "data/demo/semantic/val"),
        ("predict_classifiers@spml_tags", "data/demo/models/spml_points"),
        ("train_semantic@all_pixels", "data/demo/labels/mine"),
        ("predict_semantic@all_pixels", "data/demo/semantic/val"),
    ],
)
def test_labels_of_others_are_found(semantic: tuple[Dag, Params], stage: str, dep: str) -> None:
    dag, params = semantic
    leaks = find_leaks(with_dep(dag, stage, dep), params)
    assert any(leak.startswith(f"{stage} can read labels that are not its own") for leak in leaks)
