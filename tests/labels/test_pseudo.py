"""Pseudo-label files: complete, readable by others, the same bytes after a kill, at any number of boxes."""

from __future__ import annotations

import contextlib
import io
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pipeline.data.masks import decode, encode
from pipeline.errors import UserError
from pipeline.labels import json_stream
from pipeline.labels.label_file import LabelFile
from pipeline.labels.pseudo import Labelled, PseudoLabels
from pipeline.labels.weak import make_labels

HEIGHT, WIDTH = 30, 40
SETTINGS = {"threshold": [0.1, 0.1, 0.1], "network": "student"}


def box_file(folder: Path, count: int = 60, image_count: int = 7, **changes: Any) -> Path:
    """Boxes in an order that mixes images and ids, every 9th too narrow for a mask; an own field beside."""
    rng = np.random.default_rng(count)
    ids = rng.permutation(10 * count)[:count].tolist()
    annotations = []
    for index, key in enumerate(ids):
        x, y = (round(float(value), 2) for value in rng.uniform(0, 15, 2))
        width = 2 if index % 9 == 4 else round(float(rng.uniform(2.5, 20)), 2)
        box = [x, y, width, round(float(rng.uniform(2.5, 14)), 2)]
        row = {"id": key, "image_id": 100 + int(rng.integers(image_count)), "category_id": 5, "bbox": box}
        annotations.append(row | {"area": box[2] * box[3], "iscrowd": 0})
    content = {
        "info": {"kind": "boxes", "left_out": {"crowds": 3, "without_mask": 0}},
        "licenses": [{"id": 1, "name": "größte Freiheit"}],
        "images": [
            {"id": 100 + index, "file_name": f"bild-ä{index}.png", "width": WIDTH, "height": HEIGHT}
            for index in range(image_count)
        ],
        "annotations": annotations,
        "categories": [{"id": 5, "name": "Gerät"}],
    }
    path = folder / "boxes.json"
    path.write_text(json.dumps({**content, **changes}, ensure_ascii=False), encoding="utf-8")
    return path


def label(annotation_id: int) -> Labelled:
    """What the model in these tests says of a box: a rectangle of the id's own; nothing for every 11th."""
    mask = np.zeros((1, HEIGHT, WIDTH), dtype=bool)
    if annotation_id % 11:
        mask[0, annotation_id % 20 : annotation_id % 20 + 4, annotation_id % 30 : annotation_id % 30 + 6] = (
            True
        )
    return Labelled(annotation_id, encode(mask)[0], annotation_id / 1000)


def chunks(labels: PseudoLabels, size: int = 4) -> Iterator[list[Labelled]]:
    ids = labels.remaining.tolist()
    for start in range(0, len(ids), size):
        yield [label(key) for key in ids[start : start + size]]


def opened(source: Path, folder: Path, key: str = "key", shard_boxes: int = 8) -> PseudoLabels:
    return PseudoLabels(source, folder / "resume", key, min_side=2.0, shard_boxes=shard_boxes)


def made(source: Path, folder: Path, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The label file and the account of one labelling from start to end."""
    labels = opened(source, folder, **options)
    for chunk in chunks(labels):
        labels.add(chunk)
    account = labels.finish(folder / "out", SETTINGS)
    return json.loads((folder / "out" / "labels.json").read_text(encoding="utf-8")), account


def bytes_of(folder: Path) -> list[bytes]:
    return [(folder / "out" / name).read_bytes() for name in ("labels.json", "results.json")]


def test_every_annotation_is_kept_or_accounted_for(tmp_path: Path) -> None:
    source = box_file(tmp_path)
    given = json.loads(source.read_text(encoding="utf-8"))
    content, account = made(source, tmp_path)
    narrow = {row["id"] for row in given["annotations"] if row["bbox"][2] == 2}
    labelled = [row for row in given["annotations"] if row["id"] not in narrow]
    assert [row["id"] for row in content["annotations"]] == [row["id"] for row in labelled]
    for row, box in zip(content["annotations"], labelled, strict=True):
        expected = label(box["id"])
        assert row == {
            **box,
            "area": box["bbox"][2] * box["bbox"][3],
            "score": expected.score,
            "segmentation": expected.rle,
        }
    assert {key: content[key] for key in ("images", "categories", "licenses")} == {
        key: given[key] for key in ("images", "categories", "licenses")
    }
    assert account == {
        "annotations": 60,
        "labelled": 60 - len(narrow),
        "empty": sorted(row["id"] for row in labelled if row["id"] % 11 == 0),
        "too_small": sorted(narrow),
        "crowds_copied": 0,
        "left_out_before": {"crowds": 3, "without_mask": 0},
    }
    assert account["empty"]
    assert content["info"] == {
        **SETTINGS,
        "kind": "masks",
        "source": "pseudo",
        "min_side": 2.0,
        "account": account,
    }


def test_crowds_are_copied_with_the_mask_of_their_box_and_are_no_results(tmp_path: Path) -> None:
    source = box_file(tmp_path)
    given = json.loads(source.read_text(encoding="utf-8"))
    region = encode(np.ones((1, HEIGHT, WIDTH), dtype=bool))[0]
    boxed, thin, masked = (given["annotations"][place] for place in (3, 4, 5))
    boxed |= {"iscrowd": 1, "bbox": [2.5, 3, 10, 6], "area": 60}
    thin |= {"iscrowd": 1}
    masked |= {"iscrowd": 1, "segmentation": region, "area": 17}
    source.write_text(json.dumps(given))
    content, account = made(source, tmp_path)
    assert account["crowds_copied"] == 3
    assert account["labelled"] + len(account["too_small"]) + 3 == account["annotations"]
    copies = content["annotations"][-3:]
    filled = np.zeros((HEIGHT, WIDTH), dtype=bool)
    filled[3:9, 2:13] = True
    assert copies[0] == boxed | {"segmentation": encode(filled[None])[0]}
    assert copies[1] == thin | {"segmentation": copies[1]["segmentation"]}
    assert copies[2] == masked
    assert len(json.loads((tmp_path / "out" / "results.json").read_text())) == account["labelled"]
    assert set(LabelFile.read(tmp_path / "out" / "labels.json").left_out) == {
        *account["empty"],
        *(row["id"] for row in copies),
    }


def test_others_read_it(tmp_path: Path) -> None:
    source = box_file(tmp_path)
    given = json.loads(source.read_text(encoding="utf-8"))
    given["annotations"][3]["iscrowd"] = 1
    source.write_text(json.dumps(given))
    content, account = made(source, tmp_path)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "out" / "labels.json"))
        results = coco.loadRes(str(tmp_path / "out" / "results.json"))
        for kind, least in (("bbox", 0.999), ("segm", 0.8)):  # an empty mask has IoU 0 with itself
            evaluation = COCOeval(coco, results, kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            assert evaluation.stats[0] > least
    assert len(coco.getAnnIds()) == len(results.getAnnIds()) + 1 == account["labelled"] + 1
    for row in content["annotations"]:
        assert coco.annToMask(coco.anns[row["id"]]).sum() == coco_mask.area(row["segmentation"])


def test_it_is_a_mask_label_file_without_the_empty_masks(tmp_path: Path) -> None:
    content, account = made(box_file(tmp_path), tmp_path)
    labels = LabelFile.read(tmp_path / "out" / "labels.json")
    assert labels.kind == "masks"
    assert sorted(labels.left_out) == account["empty"]
    rows = {row["id"]: row for row in content["annotations"]}
    read = 0
    for image_id, image in labels.images.items():
        assert image.rles is not None
        masks = decode(image.rles, image.size)
        for key, box, mask in zip(image.annotation_ids.tolist(), image.boxes, masks, strict=True):
            x, y, width, height = rows[key]["bbox"]
            np.testing.assert_allclose(box, [x, y, x + width, y + height], rtol=1e-6)
            np.testing.assert_array_equal(mask, coco_mask.decode(label(key).rle) > 0)
            assert rows[key]["image_id"] == image_id
            read += 1
    assert read == account["labelled"] - len(account["empty"])


@pytest.mark.parametrize("stop", [0, 1, 2, 3, 7, 12])
def test_a_killed_labelling_goes_on_to_the_same_bytes(tmp_path: Path, stop: int) -> None:
    source = box_file(tmp_path)
    made(source, tmp_path / "whole")
    labels = opened(source, tmp_path)
    for number, chunk in enumerate(chunks(labels)):
        if number == stop:
            break
        labels.add(chunk)
    (tmp_path / "resume").mkdir(exist_ok=True)
    (tmp_path / "resume" / ".shard-000009.jsonl.x").write_text("half a li")
    again = opened(source, tmp_path)
    assert len(labels.remaining) <= len(again.remaining) < len(labels.remaining) + 8
    made(source, tmp_path)
    assert bytes_of(tmp_path) == bytes_of(tmp_path / "whole")


def test_a_finished_labelling_can_be_assembled_again(tmp_path: Path) -> None:
    source = box_file(tmp_path)
    made(source, tmp_path)
    before = bytes_of(tmp_path)
    labels = opened(source, tmp_path)
    assert labels.remaining.tolist() == []
    labels.finish(tmp_path / "out", SETTINGS)
    assert bytes_of(tmp_path) == before


def test_the_size_of_shards_does_not_show(tmp_path: Path) -> None:
    source = box_file(tmp_path)
    for size in (1, 1000):
        made(source, tmp_path / str(size), shard_boxes=size)
    assert bytes_of(tmp_path / "1") == bytes_of(tmp_path / "1000")


@pytest.mark.parametrize("fault", ["key", "cut", "garbage", "missing"])
def test_shards_that_do_not_fit_are_made_anew(
    tmp_path: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = box_file(tmp_path)
    made(source, tmp_path / "whole")
    labels = opened(source, tmp_path)
    for chunk in chunks(labels):
        labels.add(chunk)
    shard = tmp_path / "resume" / "shard-000002.jsonl"
    if fault == "cut":
        shard.write_text(shard.read_text()[:-30])
    elif fault == "garbage":
        shard.write_bytes(b"\xff\xfe")
    elif fault == "missing":
        shard.unlink()
    again = opened(source, tmp_path, key="other" if fault == "key" else "key")
    assert len(again.remaining) == len(labels._wanted) - (0 if fault == "key" else 16)
    assert ("warning: " in capsys.readouterr().err) == (fault != "missing")
    for chunk in chunks(again):
        again.add(chunk)
    again.finish(tmp_path / "out", SETTINGS)
    assert bytes_of(tmp_path) == bytes_of(tmp_path / "whole")


def test_wrong_masks_are_refused_when_they_come(tmp_path: Path) -> None:
    source = box_file(tmp_path)
    narrow = [row["id"] for row in json.loads(source.read_text())["annotations"] if row["bbox"][2] == 2]
    labels = opened(source, tmp_path)
    first, second = labels.remaining[:2].tolist()
    labels.add([label(first)])
    with pytest.raises(ValueError, match=f"annotation {first} has a mask already"):
        labels.add([label(first)])
    for key in (narrow[0], 10**9):
        with pytest.raises(ValueError, match=f"annotation {key} is no box that needs a mask"):
            labels.add([label(key)])
    with pytest.raises(ValueError, match="another size"):
        labels.add([Labelled(second, encode(np.ones((1, 3, 4), dtype=bool))[0], 0.5)])


def test_a_score_must_be_finite(tmp_path: Path) -> None:
    labels = opened(box_file(tmp_path), tmp_path)
    with pytest.raises(ValueError, match="JSON"):
        labels.add([label(int(labels.remaining[0]))._replace(score=float("nan"))])


def test_unfinished_labels_are_not_written(tmp_path: Path) -> None:
    labels = opened(box_file(tmp_path), tmp_path)
    with pytest.raises(ValueError, match=f"{len(labels.remaining)} annotations have no mask yet"):
        labels.finish(tmp_path / "out", SETTINGS)
    assert not (tmp_path / "out").exists()


def test_no_boxes_give_an_empty_file(tmp_path: Path) -> None:
    content, account = made(box_file(tmp_path, annotations=[]), tmp_path)
    assert content["annotations"] == []
    assert account["annotations"] == 0
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": [{"id": 1}]}, "not a label file in COCO format"),
        ({"annotations": [{"id": 1, "bbox": [1, 2, 3]}]}, "not a label file in COCO format"),
        ({"annotations": [{"id": 1, "bbox": [1, 2, 3, "4"]}]}, "not a label file in COCO format"),
        ({"annotations": [{"id": 1, "bbox": [1, 2, 3, 4]}] * 2}, "the id 1 occurs twice"),
        ({"images": [{"id": 1}]}, "not a label file in COCO format"),
    ],
)
def test_a_source_that_is_no_box_file_is_one_line(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        opened(box_file(tmp_path, **changes), tmp_path)
    assert "\n" not in str(caught.value)


def test_label_files_of_this_project_are_sources(tmp_path: Path) -> None:
    row = {"id": 4, "image_id": 1, "category_id": 2, "bbox": [1, 1, 5, 6], "area": 3, "iscrowd": 0}
    annotations = {
        "images": [{"id": 1, "file_name": "1.png", "width": WIDTH, "height": HEIGHT}],
        "annotations": [row, {**row, "id": 5, "iscrowd": 1}],
        "categories": [{"id": 2, "name": "thing"}],
    }
    source = tmp_path / "boxes.json"
    source.write_text(json.dumps(make_labels(annotations, "boxes")))
    _, account = made(source, tmp_path)
    assert account["left_out_before"] == {"crowds": 0, "without_mask": 0}
    assert (account["annotations"], account["labelled"], account["crowds_copied"]) == (2, 1, 1)


def peak_bytes(folder: Path, count: int) -> int:
    """Peak of Python's and numpy's memory over a labelling of `count` boxes."""
    folder.mkdir()
    source = box_file(folder, count, image_count=count // 5)
    tracemalloc.start()
    try:
        labels = opened(source, folder, shard_boxes=100)
        for chunk in chunks(labels):
            labels.add(chunk)
        labels.finish(folder / "out", SETTINGS)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Held in memory, 1600 more masks would take about 1000 bytes each; the index takes far less."""
    monkeypatch.setattr(json_stream, "BLOCK", 4096)  # less than the smaller file, so that it counts in both
    few, many = (peak_bytes(tmp_path / str(count), count) for count in (400, 2000))
    assert many - few < 1600 * 150, (few, many)
