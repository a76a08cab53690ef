"""Weak label sets from label maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import TypeAdapter

from pipeline.data.label_codes import UNLABELLED, VOID
from pipeline.data.masks import encode, extents
from pipeline.data.packs import Pack, encode_map, write_pack
from pipeline.errors import UserError
from pipeline.files import read_json
from pipeline.labels.draws import split_size, uniform_order
from pipeline.labels.label_file import LabelFile
from pipeline.labels.semantic_labels import SemanticLabels
from pipeline.labels.weak_semantic import write_weak_labels
from pipeline.params.semantic_labels import WeakLabels

ALL = {"split": "train", "percent": 100.0, "seed": 0, "processes": 1}
CLASSES = ["background", "cat", "dog"]
POINTS = {"kind": "points", "per_object": 2, "background": 3, "radius": 2, "min_area": 6, "seed": 5}
SCRIBBLES = {"kind": "scribbles", "length": 1.0, "background": 2, "radius": 1, "min_area": 6, "seed": 5}


def row(**settings: Any) -> WeakLabels:
    made: WeakLabels = TypeAdapter(WeakLabels).validate_python({**ALL, **settings})
    return made


def scene() -> NDArray[np.uint8]:
    """Two cats side by side that touch, a dog with a void border, and a speck of cat."""
    values = np.zeros((60, 80), dtype=np.uint8)
    values[10:30, 5:35] = 1
    values[38:58, 40:74] = VOID
    values[40:56, 42:72] = 2
    values[2, 70:72] = 1
    return values


def instances() -> list[dict[str, Any]]:
    masks = np.zeros((2, 60, 80), dtype=bool)
    masks[0, 10:30, 5:20] = True
    masks[1, 10:30, 20:35] = True
    rles = encode(masks)
    return [
        {"id": key, "image_id": 3, "category_id": 4, "bbox": box, "iscrowd": 0, "segmentation": rle}
        for key, (rle, box) in enumerate(zip(rles, extents(rles).tolist(), strict=True), 1)
    ]


@pytest.fixture
def semantic(tmp_path: Path) -> Path:
    maps = {3: scene(), 8: np.full((20, 20), VOID, dtype=np.uint8), 9: scene()[:, ::-1]}
    members = [(key, encode_map(values)) for key, values in maps.items()]
    write_pack(tmp_path / "semantic", members, {"classes": CLASSES, "background": True})
    return tmp_path / "semantic"


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Twelve maps with ids that are not their places."""
    members = [(5 * key + 2, encode_map(np.roll(scene(), 3 * key, axis=1))) for key in range(12)]
    write_pack(tmp_path / "many", members, {"classes": CLASSES, "background": True})
    return tmp_path / "many"


def coco_of(semantic: Path) -> dict[str, Any]:
    ids = Pack(semantic).ids
    images = [{"id": key, "file_name": f"{key}.jpg", "width": 80, "height": 60} for key in ids]
    return {**coco([]), "images": images}


def coco(rows: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    sizes = {3: (80, 60), 8: (20, 20), 9: (80, 60)}
    return {
        "images": [
            {"id": key, "file_name": f"{key}.jpg", "width": width, "height": height}
            for key, (width, height) in sizes.items()
        ],
        "annotations": instances() if rows is None else rows,
        "categories": [{"id": 4, "name": "cat"}, {"id": 6, "name": "dog"}],
    }


def make(semantic: Path, annotations: dict[str, Any] | None = None, **settings: Any) -> SemanticLabels:
    folder = semantic.with_name("labels" + settings.pop("name", ""))
    write_weak_labels(semantic, annotations or coco(), row(**settings), folder)
    return SemanticLabels.open(folder)


def test_tags_are_the_classes_of_the_map(semantic: Path) -> None:
    labels = make(semantic, kind="tags")
    assert {key: image.tags for key, image in labels.images.items()} == {3: (1, 2), 8: (), 9: (1, 2)}
    assert labels.classes == tuple(CLASSES)
    assert not (labels.folder / "maps").exists()
    with pytest.raises(UserError, match="labels: image 3: holds tags, which are no label maps"):
        labels.partial_map(3)


def test_pixels_are_the_maps(semantic: Path) -> None:
    labels = make(semantic, kind="pixels")
    np.testing.assert_array_equal(labels.partial_map(9), scene()[:, ::-1])
    assert labels.images[8].tags == ()


def test_boxes_are_around_instances_and_else_around_parts_and_in_the_older_format(semantic: Path) -> None:
    labels = make(semantic, kind="boxes", min_area=6)
    classes, boxes = labels.boxes(3)
    assert classes.tolist() == [2, 1, 1]
    assert boxes.tolist() == [[42, 40, 72, 56], [5, 10, 20, 30], [20, 10, 35, 30]]
    classes, boxes = labels.boxes(9)
    assert classes.tolist() == [1, 2]
    assert boxes.tolist() == [[45, 10, 75, 30], [8, 40, 38, 56]]
    older = LabelFile.read(labels.folder / "labels.json")
    assert older.kind == "boxes"
    assert [category.name for category in older.categories] == ["cat", "dog"]
    assert labels.images[3].tags == (1, 2)


def test_points_are_in_their_objects_and_in_the_background(semantic: Path) -> None:
    labels = make(semantic, **POINTS)
    points = read_json(labels.folder / "labels.json")["points"]
    for image, count in ((3, [3, 4, 2]), (8, [0, 0, 0]), (9, [3, 2, 2])):
        own = [point for point in points if point["image_id"] == image]
        truth = scene() if image == 3 else scene()[:, ::-1]
        assert [sum(point["class"] == key for point in own) for key in range(3)] == count
        assert all(truth[point["y"], point["x"]] == point["class"] for point in own)
        values = labels.partial_map(image)
        assert all(values[point["y"], point["x"]] == point["class"] for point in own)
        assert (values != UNLABELLED).sum() <= 13 * len(own)
        assert not (values == VOID).any()
    assert not any(point["y"] < 6 and point["x"] > 68 and point["class"] for point in points)  # the speck


def test_strokes_are_in_their_objects_and_shorter_ones_in_longer_ones(semantic: Path) -> None:
    before = None
    for length in (1.0, 0.8, 0.5, 0.3, 0.0):
        labels = make(semantic, **{**SCRIBBLES, "length": length})
        rows = [one for one in read_json(labels.folder / "labels.json")["scribbles"] if one["image_id"] == 3]
        assert [one["class"] for one in rows] == [0, 0, 2, 1, 1]
        for one in rows:
            assert all(scene()[y, x] == one["class"] for x, y in one["stroke"])
        if before is not None:
            for one, longer in zip(rows, before, strict=True):
                assert {tuple(xy) for xy in one["stroke"]} <= {tuple(xy) for xy in longer["stroke"]}
        before = rows
    assert all(len(one["stroke"]) == 1 for one in before or [])
    assert labels.images[3].tags == (1, 2)


def strokes(values: NDArray[np.uint8], folder: Path, background: int) -> list[NDArray[np.int64]]:
    """The (n, 2) x, y corners of the strokes drawn on one label map, in their order."""
    height, width = values.shape
    about = {"classes": CLASSES, "background": True}
    write_pack(folder / "semantic", [(1, encode_map(values))], about)
    image = {"id": 1, "file_name": "1.jpg", "width": width, "height": height}
    labels = make(
        folder / "semantic", {**coco([]), "images": [image]}, **{**SCRIBBLES, "background": background}
    )
    return [np.array(one["stroke"]) for one in read_json(labels.folder / "labels.json")["scribbles"]]


def test_the_background_has_strokes_in_its_largest_parts_first(tmp_path: Path) -> None:
    """The first stroke cuts the larger part in two halves, of which each is larger than the small part."""
    values = np.full((40, 200), 1, dtype=np.uint8)
    values[:, :150] = 0
    values[:, 160:164] = 0
    first, second = strokes(values, tmp_path, 2)[:2]
    assert first[:, 0].max() < 150
    assert second[:, 0].max() < 150


def test_a_stroke_of_the_background_is_half_a_diagonal_long_at_most(tmp_path: Path) -> None:
    (stroke,) = strokes(np.zeros((20, 300), dtype=np.uint8), tmp_path, 1)
    length = float(np.hypot(*np.diff(stroke, axis=0).T).sum())
    assert 0.4 * np.hypot(20, 300) < length < 0.55 * np.hypot(20, 300)


@pytest.mark.parametrize("settings", [POINTS, SCRIBBLES])
def test_equal_settings_give_equal_bytes_whatever_the_processes_and_the_other_images(
    semantic: Path, settings: dict[str, Any]
) -> None:
    first = make(semantic, **settings)
    rows = {path.name: path.read_bytes() for path in first.folder.rglob("*") if path.is_file()}
    before = first.partial_map(3)
    again = make(semantic, **settings)
    assert {path.name: path.read_bytes() for path in again.folder.rglob("*") if path.is_file()} == rows
    alone = semantic.with_name("alone")
    write_pack(alone, [(9, encode_map(scene()[:, ::-1]))], {"classes": CLASSES, "background": True})
    annotations = {**coco([]), "images": coco()["images"][2:]}
    np.testing.assert_array_equal(make(alone, annotations, **settings).partial_map(9), again.partial_map(9))
    other = make(semantic, **{**settings, "seed": 6})
    assert (other.partial_map(3) != before).any()


@pytest.mark.slow
def test_several_processes_give_the_same(semantic: Path) -> None:
    first = make(semantic, **SCRIBBLES)
    rows = {path.name: path.read_bytes() for path in first.folder.rglob("*") if path.is_file()}
    again = make(semantic, **{**SCRIBBLES, "processes": 2})
    assert {path.name: path.read_bytes() for path in again.folder.rglob("*") if path.is_file()} == rows


def test_full_scenes_have_no_background_and_class_0_is_marked_but_no_tag(semantic: Path) -> None:
    scenes = semantic.with_name("scenes")
    write_pack(scenes, [(3, encode_map(scene()))], {"classes": ["road", "cat", "dog"], "background": False})
    annotations = {**coco([]), "images": coco()["images"][:1]}
    labels = make(scenes, annotations, **POINTS)
    assert not labels.background
    assert labels.images[3].tags == (1, 2)
    classes = [point["class"] for point in read_json(labels.folder / "labels.json")["points"]]
    assert classes == [0, 0, 1, 1, 2, 2]
    boxes = make(scenes, annotations, kind="boxes", min_area=6)
    assert boxes.boxes(3)[0].tolist() == [0, 1, 2]


def test_points_of_annotators_are_taken_as_they_are(semantic: Path) -> None:
    annotations = coco()
    annotations["points"] = [{"image_id": 3, "class": 2, "x": 50, "y": 50}]
    settings = {key: POINTS[key] for key in ("background", "radius", "min_area", "seed")}
    labels = make(semantic, annotations, kind="annotated_points", **settings)
    assert labels.kind == "points"
    values = labels.partial_map(3)
    assert (values == 2).sum() == 13
    assert values[50, 50] == 2
    assert (values == 0).any()
    assert labels.images[3].tags == (2,)
    assert labels.images[9].tags == ()


def test_maps_of_other_images_are_refused_and_the_old_labels_stay(semantic: Path) -> None:
    first = make(semantic, kind="tags")
    short = {**coco([]), "images": coco()["images"][:1]}
    with pytest.raises(UserError, match="semantic: holds maps of other images"):
        make(semantic, short, kind="pixels")
    turned = {**coco([]), "images": [{**image, "width": 60, "height": 80} for image in coco()["images"]]}
    with pytest.raises(UserError, match="image 3: its map has another size"):
        make(semantic, turned, kind="pixels")
    assert SemanticLabels.open(first.folder).kind == "tags"
    assert sorted(path.name for path in semantic.parent.iterdir()) == ["labels", "semantic"]


def expected(semantic: Path, percent: float, seed: int) -> list[int]:
    """The head of the published draw: the same images, whatever is labelled."""
    ids = Pack(semantic).ids
    return sorted(ids[place] for place in uniform_order(len(ids), seed)[: split_size(percent, len(ids))])


KINDS = [{"kind": "tags"}, {"kind": "pixels"}, {"kind": "boxes", "min_area": 6}, POINTS, SCRIBBLES]


@pytest.mark.parametrize("settings", KINDS, ids=lambda settings: settings["kind"])
@given(percent=st.floats(0.0834, 1).map(lambda share: round(100 * share, 2)), seed=st.integers(0, 3))
@hypothesis_settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_share_is_nested_and_of_every_kind_the_same_images(
    many: Path, settings: dict[str, Any], percent: float, seed: int
) -> None:
    told = {**settings, "seed": seed}
    changes = [{}, {"percent": 50.0}, {"percent": percent}]
    all_of_them, half, part = (
        make(many, coco_of(many), **{**told, **change, "name": str(place)})
        for place, change in enumerate(changes)
    )
    assert len(half.images) == 6
    smaller, larger = sorted((set(half.images), set(part.images)), key=len)
    assert smaller <= larger <= set(all_of_them.images)
    assert list(part.images) == sorted(part.images) == expected(many, percent, seed)
    assert all(part.images[key].tags == all_of_them.images[key].tags for key in part.images)
    if part.kind not in ("tags", "boxes"):
        for key in part.images:
            np.testing.assert_array_equal(part.partial_map(key), all_of_them.partial_map(key))


def test_another_seed_labels_other_images(many: Path) -> None:
    drawn = {
        tuple(make(many, coco_of(many), kind="tags", percent=25.0, seed=seed).images) for seed in range(6)
    }
    assert len(drawn) > 3


def test_a_share_of_less_than_an_image_is_refused(semantic: Path) -> None:
    with pytest.raises(UserError, match=r"semantic: 20 % of its 3 images is less than one image; take a lar"):
        make(semantic, kind="tags", percent=20.0)
    assert not (semantic.parent / "labels").exists()
    with pytest.raises(UserError, match=r"one image is 33\.4 %"):
        make(semantic, kind="tags", percent=33.3)
    assert len(make(semantic, kind="tags", percent=33.4).images) == 1
