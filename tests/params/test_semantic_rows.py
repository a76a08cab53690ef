"""What rows of embeddings, pseudo-labels and semantic runs are refused, each in one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.errors import UserError
from pipeline.params import Params
from pipeline.params.semantic_rows import drawn_kind, label_sources
from pipeline.params_file import load_params
from tests import semantic_settings
from tests.workflow.repository import add_semantic

WALK = semantic_settings.walk().model_dump(mode="json")
RETRIEVAL = semantic_settings.retrieval().model_dump(mode="json")


@pytest.fixture(scope="module")
def content(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The demo's params with a row in each table of the semantic task."""
    folder = tmp_path_factory.mktemp("params")
    text = (root / "presets" / "demo.yaml").read_text(encoding="utf-8")
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    add_semantic(folder)
    values: dict[str, Any] = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    return values


def loaded(content: dict[str, Any], folder: Path) -> Params:
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_params(path)


def test_label_sources_lead_to_what_people_gave(content: dict[str, Any], tmp_path: Path) -> None:
    params = loaded(content, tmp_path)
    assert label_sources(params, "mine") == {"mine"}
    assert label_sources(params, "from_boxes") == {"from_boxes", "tags", "boxes"}
    assert label_sources(params, "spread_points") == {"spread_points", "mine"}
    assert label_sources(params, "spread_tags") == {"spread_tags", "tags", "from_tags"}
    assert label_sources(params, "segment_points") == {"segment_points", "mine"}
    assert label_sources(params, "second_tags") == {"second_tags", "spread_tags", "tags", "from_tags"}
    assert list(params.semantic_trained) == [
        *("spml_points", "spml_second_tags", "spml_segment_points", "spml_tags", "all_pixels")
    ]


@pytest.mark.parametrize(
    ("row", "changes", "expected"),
    [
        ("embeddings.of_points", {"settings": "classify"}, "classify configures pixel_classifier, and spml"),
        ("embeddings.of_points", {"model": "other"}, "'other' is not defined; defined are pyramid"),
        ("embeddings.of_points", {"labels": "tags"}, "tags holds tags, which are no label maps"),
        ("embeddings.of_points", {"labels": "told"}, "told holds tags, which are no label maps; make"),
        ("embeddings.of_points", {"labels": "spread_points"}, "'spread_points' is not defined"),
        ("embeddings.of_points", {"backbone": "other"}, "backbone: 'other' is not defined"),
        ("semantic_models.pyramid", {"backbone": "resnet50", "head": "deeplab"}, "is for small, and the"),
        ("semantic_methods.embed", {"joint_classifier": False}, "of_points has no classifier beside it"),
        ("spread_labels.spread_points", {"embedding": "other"}, "embedding: 'other' is not defined"),
        ("spread_labels.spread_points", {"labels": "pixels"}, "of_points was trained on mine, not on pixels"),
        (
            "spread_labels.spread_points",
            {"embedding": "of_tags", "labels": "from_tags"},
            "from_tags are made of tags, whose maps a row of spread_cam_labels spreads",
        ),
        ("spread_cam_labels.spread_tags", {"cams": "other"}, "cams: 'other' is not defined"),
        ("spread_cam_labels.spread_tags", {"labels": "pixels"}, "plain are maps of tags, not of pixels"),
        ("spread_cam_labels.spread_tags", {"embedding": "of_points"}, "which is not made of the tags tags"),
        ("spread_segment_labels.segment_points", {"embedding": "other"}, "embedding: 'other' is not defined"),
        ("spread_segment_labels.segment_points", {"labels": "pixels"}, "of_points was trained on mine, not"),
        (
            "spread_segment_labels.segment_points",
            {"segments": "drawn"},
            "of_points was trained on the segments fine, not on drawn",
        ),
        ("retrieved_labels.second_tags", {"embedding": "other"}, "embedding: 'other' is not defined"),
        ("retrieved_labels.second_tags", {"embedding": "of_points"}, "spml_tags has the embedding of_tags"),
        ("retrieved_labels.second_tags", {"classifier": "all_pixels"}, "'all_pixels' is not defined"),
        (
            "retrieved_labels.second_tags",
            {"classifier": "spml_second_tags"},
            "spml_second_tags was trained on second_tags, and a second round follows on labels of spread_cam",
        ),
        ("retrieved_labels.second_tags", {"seed": 1}, "spml_tags is not trained with seed 1"),
        ("retrieved_labels.second_tags", {"labels": "pixels"}, "spread_tags are made of tags, not of pixels"),
        ("classifiers.spml_tags", {"settings": "supervise"}, "supervise configures supervised_semantic"),
        ("classifiers.spml_tags", {"labels": "from_tags"}, "labels: 'from_tags' is not defined"),
        (
            "classifiers.spml_tags",
            {"labels": "spread_points"},
            "of_tags was trained on from_tags, which spread_points is not made of",
        ),
        ("classifiers.spml_tags", {"oracle": "boxinst"}, "the task of boxinst is instances, and this row's"),
        ("classifiers.spml_tags", {"oracle": "other"}, "oracle: 'other' is not defined"),
        ("classifiers.spml_tags", {"seeds": [1, 1]}, "seeds names a seed twice"),
        ("semantic_runs.all_pixels", {"settings": "embed"}, "embed configures spml"),
        ("semantic_runs.all_pixels", {"labels": "tags"}, "tags holds tags, which are no label maps"),
        ("semantic_runs.all_pixels", {"labels": "spread_tags"}, "labels: 'spread_tags' is not defined"),
        ("grown_labels.grown", {"labels": "tags"}, "tags holds tags, which are no label maps"),
        ("grown_labels.grown", {"labels": "grown_too"}, "labels: 'grown_too' is not defined"),
        ("grown_labels.grown", {"segments": "other"}, "segments: 'other' is not defined"),
        ("semantic_runs.all_pixels", {"prediction": "other"}, "prediction: 'other' is not defined"),
        ("classifiers.spml_tags", {"prediction": "other"}, "spml_tags.prediction: 'other' is not defined"),
        ("semantic_predict.one_scale", {"crop": 50}, "semantic_predict.one_scale.crop"),
        (
            "semantic_predict.one_scale",
            {"crop": 48, "stride": 64},
            "stride 64 leaves gaps between windows of crop 48",
        ),
        (
            "spread_cam_labels.spread_tags",
            {"retrieval": {**RETRIEVAL, "floor": 0.0}},
            "retrieval.floor: 0.0 is not allowed: input should be greater than 0",
        ),
        (
            "spread_labels.spread_points",
            {"walk": {**WALK, "squarings": 13}},
            "walk.squarings: 13 is not allowed: input should be less than or equal to 12",
        ),
    ],
)
def test_rows_that_do_not_fit_are_one_line(
    content: dict[str, Any], tmp_path: Path, row: str, changes: dict[str, Any], expected: str
) -> None:
    table, _, name = row.partition(".")
    values = {**content[table][name], **changes} if name else {**content[table], **changes}
    changed = {**content, table: {**content[table], name: values} if name else values}
    with pytest.raises(UserError) as caught:
        loaded(changed, tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert expected in message, message


@pytest.mark.parametrize(
    ("key", "settings"), [("embeddings.of_points", "embed"), ("semantic_runs.all_pixels", "supervise")]
)
def test_pspnet_needs_two_images(content: dict[str, Any], tmp_path: Path, key: str, settings: str) -> None:
    table, name = key.split(".")
    network = {**content["semantic_models"]["pyramid"], "backbone": "resnet18", "head": "pspnet"}
    method = content["semantic_methods"][settings]
    method = {**method, "train": {**method["train"], "batch_size": 1}}
    changed = {
        **content,
        "semantic_models": {**content["semantic_models"], "psp": network},
        "semantic_methods": {**content["semantic_methods"], settings: method},
        "weight_files": {"own": {"architecture": "resnet18", "path": "data/own.pth", "content": "backbone"}},
        table: {**content[table], name: {**content[table][name], "model": "psp", "backbone": "own"}},
    }
    with pytest.raises(UserError, match=rf"{key}\.model: psp has the head pspnet, which needs batches of 2"):
        loaded(changed, tmp_path)


def test_names_of_what_writes_models_are_unique(content: dict[str, Any], tmp_path: Path) -> None:
    changed = {
        **content,
        "embeddings": {**content["embeddings"], "boxinst": content["embeddings"]["of_tags"]},
    }
    with pytest.raises(UserError, match="boxinst is both in runs and in embeddings; rename one"):
        loaded(changed, tmp_path)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["tags"], "scored_labels: tags holds tags, which are no label maps"),
        (["other"], "scored_labels: 'other' is not defined"),
        (["grown", "grown"], "scored_labels names a label set twice"),
    ],
)
def test_what_cannot_be_scored_is_one_line(
    content: dict[str, Any], tmp_path: Path, names: list[str], expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        loaded({**content, "scored_labels": names}, tmp_path)


def test_labels_are_scored_where_there_is_ground_truth(content: dict[str, Any], tmp_path: Path) -> None:
    changed = {**content, "paint": {"val": content["paint"]["val"]}}
    with pytest.raises(UserError, match="there are no label maps of train; add train to paint"):
        loaded(changed, tmp_path)


def test_what_people_gave_for_labels_that_are_made_of_others(content: dict[str, Any], tmp_path: Path) -> None:
    params = loaded(content, tmp_path)
    expected = {
        "from_tags": "tags",
        "from_boxes": "boxes",
        "spread_points": "points",
        "spread_tags": "tags",
        "grown": "scribbles",
        "pixels": "pixels",
        "mine": "points",
    }
    assert {name: drawn_kind(params, name) for name in expected} == expected


def test_class_activation_maps_of_full_scenes_are_refused(content: dict[str, Any], tmp_path: Path) -> None:
    scenes = {
        **{"folder": "data/scenes", "train_list": "a", "val_list": "b", "classes": ["road", "car"]},
        **{"background": True, "ignore": [], "processes": 1},
    }
    dataset = {"generate": {}, "paint": {}, "import_maps": {"scenes": scenes}}
    assert loaded({**content, **dataset}, tmp_path).cams
    scenes["background"] = False
    with pytest.raises(UserError, match=r"cams\.\w+\.labels: import_maps\.scenes has no background"):
        loaded({**content, **dataset}, tmp_path)
