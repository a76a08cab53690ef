"""A user's own tags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import UserError
from pipeline.labels.own_tags import read_tags, write_own_tags
from pipeline.labels.semantic_labels import SemanticLabels
from pipeline.params.semantic_labels import TagFile

CLASSES = ["background", "cat", "dog"]
IMAGES = [{"id": key, "file_name": f"sub/{key}.jpg", "width": 4, "height": 3} for key in (2, 1)]


def read(folder: Path, content: Any) -> dict[int, list[int]]:
    path = folder / "tags.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_tags(path, IMAGES, CLASSES)


@pytest.mark.parametrize("key", ["1", "1.jpg", "sub/1.jpg"])
def test_images_are_found_by_name_and_classes_by_name_or_index(tmp_path: Path, key: str) -> None:
    content = {key: ["dog", 1, "dog", "background"], "2": [], "of another image": ["whale"]}
    assert read(tmp_path, content) == {1: [1, 2], 2: []}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([], r"tags\.json: must be an object of image names, and is \[\]"),
        ('{"1": [1], "1": []}', "the key '1' occurs twice"),
        ('{"1": ', "not complete, valid JSON"),
        ({}, r"has no entry for sub/2\.jpg and 1 other training images.*\[\] for none"),
        ({"1": []}, r"has no entry for sub/2\.jpg; list"),
        ({"1": [], "1.jpg": [], "2": []}, r"'1\.jpg' and '1': are both of the image sub/1\.jpg"),
        ({"1": "cat", "2": []}, "entry '1': must be a list of classes, and is 'cat'"),
        ({"1": [], "2": ["cow"]}, "entry '2': 'cow' is no class.*up to 2: .*cat"),
        ({"1": [], "2": [3]}, "entry '2': 3 is no class"),
        ({"1": [], "2": [-1]}, "entry '2': -1 is no class"),
        ({"1": [], "2": [True]}, "entry '2': True is no class"),
        ({"1": [], "2": [None]}, "entry '2': None is no class"),
    ],
)
def test_files_that_do_not_do_are_told_in_one_line(tmp_path: Path, content: Any, problem: str) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)


def test_the_label_set_has_the_tags_of_all_images(tmp_path: Path) -> None:
    (tmp_path / "tags.json").write_text('{"1": ["cat"], "2": [2]}', encoding="utf-8")
    write_own_tags(TagFile(path="tags.json"), tmp_path, IMAGES, CLASSES, True, tmp_path / "set")
    labels = SemanticLabels.open(tmp_path / "set")
    assert (labels.kind, labels.classes, labels.background) == ("tags", tuple(CLASSES), True)
    assert {key: image.tags for key, image in labels.images.items()} == {1: (1,), 2: (2,)}
    assert labels.images[1].file_name == "sub/1.jpg"


def test_files_outside_the_repository_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"path: '/etc/tags\.json' is absolute"):
        write_own_tags(TagFile(path="/etc/tags.json"), tmp_path, IMAGES, CLASSES, True, tmp_path / "set")
    with pytest.raises(UserError, match=r"tags\.json: cannot be read"):
        write_own_tags(TagFile(path="tags.json"), tmp_path, IMAGES, CLASSES, True, tmp_path / "set")
    assert not (tmp_path / "set").exists()
