"""The stages from tags to label sets: what they write, that it repeats, and that a kill changes nothing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import params
from pipeline.data.images import ImageStore
from pipeline.data.label_codes import UNLABELLED
from pipeline.data.pack_writer import PackWriter
from pipeline.data.packs import Pack
from pipeline.engine.loop import FitResult
from pipeline.errors import UserError
from pipeline.methods.cam.label_sets import write_cam_labels
from pipeline.methods.cam.stage import refine_cams, train_cams, write_cams
from pipeline.models.backbones import build_backbone
from pipeline.weights import save_tensors
from tests.methods.cam.tag_labels import (
    SIZES,
    TAGS,
    TagLabels,
    cams_row,
    refined_row,
    tag_labels,
    write_images,
)

CPU = torch.device("cpu")
TAG_ROW = params.TagCamLabels(
    kind="cam_tags",
    cams="cams",
    labels="tags",
    background=params.PowerBackground(kind="power", alpha=3.0),
    least_score=0.4,
    processes=1,
)
BOX_ROW = params.BoxCamLabels(
    kind="cam_boxes", cams="cams", labels="tags", boxes="boxes", threshold=0.5, processes=1
)


class Made:
    """A folder with images and labels, and the stages in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.labels = folder, tag_labels(folder / "labels")
        self.store: ImageStore = write_images(folder / "train")
        self.start = folder / "backbone.safetensors"
        torch.manual_seed(0)
        backbone = build_backbone("small", frozen_stages=0, frozen_batchnorm=False)
        save_tensors(backbone.network.state_dict(), self.start)

    def train(self, out: str = "model") -> FitResult:
        out_folder, checkpoint = self.folder / out, self.folder / f"checkpoint-{out}"
        return train_cams(
            cams_row(),
            self.store,
            self.labels,
            self.start,
            out_folder,
            checkpoint=checkpoint,
            key="key",
            name="cams",
        )

    def write(self, out: str = "cams", labels: TagLabels | None = None) -> Pack:
        write_cams(
            self.folder / "model",
            self.store,
            labels or self.labels,
            cams_row().inference,
            self.folder / out,
            device=CPU,
            checkpoint=self.folder / "checkpoint-cams",
            key="key",
            name="cams",
        )
        return Pack(self.folder / out)

    def refine(self, out: str = "refined") -> Pack:
        refine_cams(
            refined_row(),
            self.store,
            self.labels,
            self.folder / "cams",
            self.start,
            self.folder / out,
            checkpoint=self.folder / "checkpoint-refined",
            key="key",
            name="refined",
        )
        return Pack(self.folder / out)

    def label(self, row: params.CamLabels, out: str, boxes: TagLabels | None = None) -> dict[str, float]:
        cams, folder = self.folder / "cams", self.folder / out
        return write_cam_labels(row, cams, self.labels, folder, boxes=boxes, name=out)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = Made(tmp_path_factory.mktemp("cam"))
    made.train()
    made.write()
    made.refine()
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("name", ["cams", "refined"])
def test_maps_are_of_the_tags_and_of_the_images_size(made: Made, name: str) -> None:
    pack = Pack(made.folder / name)
    assert pack.about == {"classes": ["background", "disc", "square"], "stride": 1}
    for key, size in SIZES.items():
        maps = pack.read(key)
        assert maps.dtype == np.float16
        assert maps.shape == (len(TAGS[key]), *size)
        assert ((maps >= 0) & (maps <= 1)).all()


def test_a_refined_image_has_the_value_1_somewhere(made: Made) -> None:
    pack = Pack(made.folder / "refined")
    assert [float(pack.read(key).max(initial=0)) for key in SIZES] == [1, 1, 1, 0, 1]


def test_all_of_it_repeats(made: Made) -> None:
    made.train("again")
    assert contents(made.folder / "again") == contents(made.folder / "model")
    made.write("cams-again")
    assert contents(made.folder / "cams-again") == contents(made.folder / "cams")
    made.refine("refined-again")
    assert contents(made.folder / "refined-again") == contents(made.folder / "refined")
    assert not list(made.folder.glob("checkpoint-*")), "resume points of finished work are gone"


@pytest.mark.parametrize("name", ["cams", "refined"])
@pytest.mark.parametrize("after", [0, 1, 3, 4])
def test_killed_work_goes_on_to_the_same_bytes(
    made: Made, monkeypatch: pytest.MonkeyPatch, name: str, after: int
) -> None:
    """Every array in a shard of its own, and a kill once `after` of them are stored."""
    original, small = PackWriter.add, PackWriter.__init__
    added: list[int] = []

    def add(self: PackWriter, image_id: int, data: bytes) -> None:
        if not data.startswith(b"\x89PNG"):
            if len(added) == after:
                raise KeyboardInterrupt
            added.append(image_id)
        original(self, image_id, data)

    def init(self: PackWriter, ids: object, resume: Path, key: str) -> None:
        small(self, ids, resume, key, shard_bytes=1)  # type: ignore[arg-type]

    run = made.write if name == "cams" else made.refine
    monkeypatch.setattr(PackWriter, "__init__", init)
    with monkeypatch.context() as killer:
        killer.setattr(PackWriter, "add", add)
        with pytest.raises(KeyboardInterrupt):
            run("killed")
    assert not (made.folder / "killed").exists(), "nothing half written"
    run("killed")
    assert contents(made.folder / "killed") == contents(made.folder / name)
    for file in (made.folder / "killed").iterdir():
        file.unlink()
    (made.folder / "killed").rmdir()


def test_labels_from_tags(made: Made) -> None:
    figures = made.label(TAG_ROW, "tags")
    described = json.loads((made.folder / "tags/labels.json").read_text())
    assert described["info"]["kind"] == "cam_tags"
    assert described["info"]["background"] is True
    assert described["classes"] == ["background", "disc", "square"]
    assert {row["id"]: tuple(row["tags"]) for row in described["images"]} == TAGS
    pack = Pack(made.folder / "tags/maps")
    assert pack.ids == sorted(SIZES)
    maps = {key: pack.read(key) for key in SIZES}
    for key, labels in maps.items():
        assert labels.shape == SIZES[key]
        assert set(np.unique(labels)) <= {0, UNLABELLED, *TAGS[key]}
    known = sum(int((labels != UNLABELLED).sum()) for labels in maps.values())
    assert figures == {"images": 5, "labelled": known / sum(h * w for h, w in SIZES.values())}
    made.label(TAG_ROW.model_copy(update={"processes": 2}), "tags-again")
    assert contents(made.folder / "tags") == contents(made.folder / "tags-again")


def test_labels_from_boxes(made: Made) -> None:
    boxes = replace(made.labels, given={1: [(1, 2, 2, 15, 15)], 3: [(2, 20, 12, 32, 24)]})
    made.label(BOX_ROW, "boxes", boxes)
    pack = Pack(made.folder / "boxes/maps")
    inside = np.zeros(SIZES[1], dtype=bool)
    inside[2:15, 2:15] = True
    np.testing.assert_array_equal(pack.read(1) == 0, ~inside)
    assert (pack.read(1) == 1).any()
    assert set(np.unique(pack.read(3))) == {0, 2, UNLABELLED}
    assert not pack.read(5).any(), "an image without a box is background"
    assert json.loads((made.folder / "boxes/labels.json").read_text())["info"]["kind"] == "cam_boxes"


def test_labels_take_the_place_of_older_ones_as_a_whole(
    made: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made.label(TAG_ROW, "tags")
    out = tmp_path / "set"
    shutil.copytree(made.folder / "tags", out)
    (out / "old.txt").touch()

    def fails(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr("pipeline.methods.cam.label_sets.write_json", fails)
        with pytest.raises(KeyboardInterrupt):
            write_cam_labels(TAG_ROW, made.folder / "cams", made.labels, out, name="set")
    assert (out / "old.txt").exists(), "what was there stays while the new ones are not whole"
    write_cam_labels(TAG_ROW, made.folder / "cams", made.labels, out, name="set")
    assert {path.name for path in out.iterdir()} == {"labels.json", "maps"}


def test_files_that_do_not_fit_are_one_line(made: Made, tmp_path: Path) -> None:
    other = replace(made.labels, classes=["background", "disc", "ring"])
    with pytest.raises(UserError, match=r"labels: classes: are not those of .*model"):
        made.write("wrong", other)
    scenes = replace(made.labels, background=False)
    with pytest.raises(UserError, match=r"labels: classes: have no background, .*; label points"):
        write_cam_labels(TAG_ROW, made.folder / "cams", scenes, tmp_path, name="wrong")
    with pytest.raises(UserError, match=r"cams: classes: are not those of"):
        write_cam_labels(TAG_ROW, made.folder / "cams", other, tmp_path, name="wrong")
    with pytest.raises(UserError, match=r"labels: classes: are not those of"):
        made.label(BOX_ROW, "wrong", other)
    fewer = replace(made.labels, images={key: made.labels.images[key] for key in (1, 2)})
    with pytest.raises(UserError, match=r"image 3: is in .*, but not here"):
        made.label(BOX_ROW, "wrong", fewer)
    tags = replace(made.labels, images={**made.labels.images, 1: replace(made.labels.images[1], tags=(1, 2))})
    with pytest.raises(UserError, match=r"image 1: has maps of shape \(1, 24, 32\), and its image 2 tags"):
        write_cam_labels(TAG_ROW, made.folder / "cams", tags, tmp_path, name="wrong")
    (tmp_path / "model").mkdir()
    (tmp_path / "model/model.json").write_text('{"settings": {}, "classes": []}')
    with pytest.raises(UserError, match="does not describe a classifier"):
        write_cams(
            tmp_path / "model",
            made.store,
            made.labels,
            cams_row().inference,
            tmp_path / "out",
            device=CPU,
            checkpoint=tmp_path / "checkpoint",
            key="key",
            name="cams",
        )


def test_training_learns_the_tags(made: Made) -> None:
    result = made.train("longer")
    assert result.history[-1]["tags"] < 0.8 * result.history[0]["tags"]
