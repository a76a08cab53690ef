"""A user's own scribbles and partial maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.data.label_codes import UNLABELLED, VOID
from pipeline.data.pixels import ImageError
from pipeline.errors import UserError
from pipeline.files import read_json
from pipeline.labels.own_annotations import coded, strokes_of, write_own_labels
from pipeline.labels.semantic_labels import SemanticLabels
from pipeline.params.semantic_labels import PartialMapFolder, ScribbleFolder

CLASSES = ["background", "aeroplane", "cat"]
IMAGES = [{"id": key, "file_name": f"sub/2007_{key}.jpg", "width": 30, "height": 20} for key in (2, 1)]
SCRIBBLES = ScribbleFolder(path="data/mine", length=1.0, radius=1, seed=0, processes=1)
MAPS = PartialMapFolder(path="data/mine", kind="scribbles", value_255="unlabelled", processes=1)


def xml(*strokes: tuple[str, list[tuple[float, float]]]) -> bytes:
    polygons = "".join(
        f"<polygon><tag>{tag}</tag>"
        + "".join(f"<point><X>{x}</X><Y>{y}</Y></point>" for x, y in points)
        + "</polygon>"
        for tag, points in strokes
    )
    return f"<annotation><size><width>60</width></size>{polygons}</annotation>".encode()


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "data" / "mine").mkdir(parents=True)
    return tmp_path / "data" / "mine"


def make(mine: Path, row: ScribbleFolder | PartialMapFolder) -> tuple[SemanticLabels, list[str]]:
    root = mine.parents[1]
    warnings = write_own_labels(row, root, IMAGES, CLASSES, True, root / "labels")
    return SemanticLabels.open(root / "labels"), warnings


def test_strokes_are_counted_from_one_and_short_names_are_known() -> None:
    data = xml(("plane", [(1, 1), (30, 20)]), ("background", [(5, 6)]), ("cat", [(31, 3), (3, 3), (2, 99)]))
    strokes = strokes_of(data, CLASSES, (20, 30))
    assert [(label, stroke.tolist()) for label, stroke in strokes] == [
        (1, [[0, 0], [29, 19]]),
        (0, [[4, 5]]),
        (2, [[2, 2]]),
    ]
    assert strokes_of(xml(("cat", [(0, 0), (31, 1)])), CLASSES, (20, 30)) == []


def test_scribbles_become_a_label_set_and_later_strokes_lie_on_earlier_ones(mine: Path) -> None:
    (mine / "2007_1.xml").write_bytes(xml(("background", [(1, 10), (30, 10)]), ("cat", [(15, 1), (15, 20)])))
    labels, warnings = make(mine, SCRIBBLES)
    (line,) = warnings
    assert "mine: 1 image left without labels: there is no file of labels for it: sub/2007_2.jpg" in line
    assert (labels.kind, labels.images[1].tags, labels.images[2].tags) == ("scribbles", (2,), ())
    values = labels.partial_map(1)
    assert (values[8:11, :13] == 0).all()
    assert (values[:, 13:16] == 2).all()
    assert values[0, 0] == UNLABELLED
    assert (labels.partial_map(2) == UNLABELLED).all()
    rows = read_json(labels.folder / "labels.json")["scribbles"]
    assert rows == [
        {"image_id": 1, "class": 0, "stroke": [[0, 9], [29, 9]]},
        {"image_id": 1, "class": 2, "stroke": [[14, 0], [14, 19]]},
    ]


def test_shorter_strokes_are_parts(mine: Path) -> None:
    points = [(x + 1.0, 5.0) for x in range(21)]
    (mine / "2007_1.xml").write_bytes(xml(("cat", points)))
    before: set[Any] = {(x - 1, 4) for x, _ in points}
    for length, corners in ((1.0, 21), (0.5, 4), (0.3, 3), (0.0, 1)):
        labels, _ = make(mine, SCRIBBLES.model_copy(update={"length": length}))
        (row,) = read_json(labels.folder / "labels.json")["scribbles"]
        kept = {tuple(point) for point in row["stroke"]}
        assert len(kept) == corners
        assert kept <= before
        before = kept


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"<annotation>", "its XML is damaged"),
        (xml(("fox", [(1, 1)])), "a class that the dataset does not have: fox"),
        (xml(("cat", [(1, 1)])).replace(b"<Y>1</Y>", b""), "a point that is not two numbers"),
    ],
)
def test_xml_that_is_wrong_is_named_and_the_others_are_read(mine: Path, data: bytes, problem: str) -> None:
    with pytest.raises(ImageError, match=problem):
        strokes_of(data, CLASSES, (20, 30))
    (mine / "2007_1.xml").write_bytes(data)
    (mine / "2007_2.xml").write_bytes(xml(("cat", [(3, 3)])))
    labels, (line,) = make(mine, SCRIBBLES)
    assert "1 image left without labels: its XML" in line
    assert (labels.partial_map(2) == 2).sum() == 5


@pytest.mark.parametrize("row", [SCRIBBLES, MAPS])
def test_folders_that_cannot_be_are_refused_and_nothing_is_written(
    mine: Path, row: ScribbleFolder | PartialMapFolder
) -> None:
    with pytest.raises(UserError, match="mine: has a file for no image of the dataset"):
        make(mine, row)
    with pytest.raises(UserError, match="path: '/etc' is absolute"):
        make(mine, row.model_copy(update={"path": "/etc"}))
    with pytest.raises(UserError, match="the folder is missing"):
        make(mine, row.model_copy(update={"path": "data/other"}))
    assert not (mine.parents[1] / "labels").exists()


@pytest.mark.parametrize(("row", "ending"), [(SCRIBBLES, ".png"), (MAPS, ".xml")])
def test_files_of_the_other_kind_are_files_for_no_image(
    mine: Path, row: ScribbleFolder | PartialMapFolder, ending: str
) -> None:
    (mine / f"2007_1{ending}").touch()
    with pytest.raises(UserError, match="has a file for no image of the dataset"):
        make(mine, row)


def test_images_of_one_name_have_files_in_their_own_folders(mine: Path) -> None:
    root = mine.parents[1]
    images = [
        {**IMAGES[0], "id": key, "file_name": f"{folder}/0.jpg"} for key, folder in ((1, "a"), (2, "b"))
    ]
    values = np.full((20, 30), 1, np.uint8)
    Image.fromarray(values).save(mine / "0.png")
    with pytest.raises(UserError, match=r"0\.png: is the file of a/0\.jpg and of b/0\.jpg; put it into"):
        write_own_labels(MAPS, root, images, CLASSES, True, root / "labels")
    (mine / "b").mkdir()
    Image.fromarray(values + 1).save(mine / "b" / "0.png")
    assert write_own_labels(MAPS, root, images, CLASSES, True, root / "labels") == []
    labels = SemanticLabels.open(root / "labels")
    assert [labels.images[key].tags for key in (1, 2)] == [(1,), (2,)]


def test_values_above_the_classes_are_unlabelled() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for value_255, code in (("unlabelled", UNLABELLED), ("void", VOID)):
        wanted = np.full(256, UNLABELLED)
        wanted[:3], wanted[255] = [0, 1, 2], code
        np.testing.assert_array_equal(coded(values, 3, value_255).ravel(), wanted)


def test_partial_maps_become_a_label_set(mine: Path) -> None:
    values = np.full((20, 30), 255, np.uint8)
    values[2:5, 2:5], values[9, 9] = 2, 0
    Image.fromarray(values).save(mine / "2007_1.png")
    Image.fromarray(values[:-1]).save(mine / "2007_2.png")
    labels, (line,) = make(mine, MAPS)
    assert "its label map has another size: sub/2007_2.jpg, 30x19 and 30x20" in line
    assert (labels.kind, labels.images[1].tags) == ("scribbles", (2,))
    np.testing.assert_array_equal(labels.partial_map(1), np.where(values == 255, UNLABELLED, values))
