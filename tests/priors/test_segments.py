"""The stage: every image of a split in one pack, the same for any number of processes and after a kill."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from pipeline import params
from pipeline.data.images import ImageRecord, ImageStore, write_zip_store
from pipeline.data.pack_writer import PackWriter
from pipeline.data.packs import Pack
from pipeline.errors import UserError
from pipeline.models.hed import Hed
from pipeline.priors import segments
from pipeline.priors.segments import write_segments
from pipeline.weights import save_weights

BUILT_IN = {"kind": "built_in", "words": 6, "scales": 1, "spectral": 0.0}


def rules(**changes: Any) -> params.Segments:
    given: dict[str, Any] = {
        "contours": BUILT_IN,
        "hierarchy": {"kind": "mean_boundary", "oriented": True},
        "cut": {"kind": "count", "count": 5},
        "min_region": 8,
        "most": 255,
        "processes": 1,
    }
    row = given | changes
    kind = (
        params.BuiltInSegments if row["contours"]["kind"] in ("built_in", "gradient") else params.FileSegments
    )
    return kind.model_validate(row)


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    rng = np.random.default_rng(0)

    def image(index: int) -> tuple[ImageRecord, bytes]:
        noise = cv2.GaussianBlur(rng.integers(0, 255, (24 + index, 32, 3), dtype=np.uint8), (0, 0), 3)
        name = f"part/{index}.jpg" if index == 3 else f"{index}.jpg"
        return ImageRecord(10 - index, name, 32, 24 + index), cv2.imencode(".png", noise)[1].tobytes()

    write_zip_store(tmp_path / "images", map(image, range(1, 6)))
    return ImageStore.open(tmp_path / "images")


def write(store: ImageStore, out: Path, settings: params.Segments, key: str = "key") -> dict[str, Any]:
    root = out.parent
    return write_segments(store, settings, out, checkpoint=root / "resume", key=key, name="small", root=root)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_every_image_has_ids_of_its_size(store: ImageStore, tmp_path: Path) -> None:
    about = write(store, tmp_path / "out", rules())
    pack = Pack(tmp_path / "out")
    assert pack.ids == [5, 6, 7, 8, 9]
    assert pack.about == about == {"images": 5, "fewest": 5, "mean": 5.0, "most": 5}
    for record in store.records:
        ids = pack.read(record.id)
        assert ids.dtype == np.uint16
        assert ids.shape == (record.height, record.width)
        assert np.unique(ids).tolist() == [0, 1, 2, 3, 4]
    assert not (tmp_path / "resume").exists()


def test_processes_make_no_difference(store: ImageStore, tmp_path: Path) -> None:
    write(store, tmp_path / "one", rules())
    write(store, tmp_path / "two", rules(processes=2))
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_goes_on_where_it_was_killed(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store, tmp_path / "whole", rules())
    monkeypatch.setattr(segments, "PackWriter", partial(PackWriter, shard_bytes=1))
    real, seen = segments._segment, []

    def dies_at_the_fourth(*arguments: Any) -> Any:
        seen.append(arguments[-1].id)
        if len(seen) == 4:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(segments, "_segment", dies_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        write(store, tmp_path / "killed", rules())
    assert not (tmp_path / "killed").exists()
    write(store, tmp_path / "killed", rules())
    assert len(seen) == 4 + 2  # those of the three whole shards are not made again
    assert content(tmp_path / "whole") == content(tmp_path / "killed")


def test_another_key_begins_anew(store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(PackWriter, "finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write(store, tmp_path / "out", rules(), "old")
    write(store, tmp_path / "out", rules(cut={"kind": "count", "count": 2}), "new")
    assert Pack(tmp_path / "out").about["most"] == 2


def test_the_user_s_contours_decide(store: ImageStore, tmp_path: Path) -> None:
    for record in store.records:
        contour = np.zeros((record.height, record.width), np.uint8)
        contour[:, 12] = 200
        path = (tmp_path / "contours" / record.file_name).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), contour)
    level = {"kind": "level", "level": 0.2}
    flat = {"kind": "mean_boundary", "oriented": False}
    files = rules(contours={"kind": "files", "path": "contours"}, hierarchy=flat, cut=level)
    write(store, tmp_path / "out", files)
    ids = Pack(tmp_path / "out").read(7)
    assert ids.max() == 1
    assert (ids[:, :12] == 0).all()
    assert (ids[:, 13:] == 1).all()
    (tmp_path / "contours" / "part" / "3.png").unlink()
    with pytest.raises(UserError, match=r"3\.png: file not found \(the first of 1\)"):
        write(store, tmp_path / "again", files)
    cv2.imwrite(str(tmp_path / "contours" / "part" / "3.png"), np.zeros((5, 5), np.uint8))
    with pytest.raises(UserError, match="is 5 x 5 pixels, and its image 32 x 27"):
        write(store, tmp_path / "again", files)
    assert not (tmp_path / "again").exists()


def test_a_network_s_contours(store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hed = rules(contours={"kind": "hed", "path": "hed.safetensors"})
    with pytest.raises(UserError, match="file not found"):
        write(store, tmp_path / "out", hed)
    torch.manual_seed(0)
    save_weights(Hed((2, 2, 2, 2, 2)), tmp_path / "hed.safetensors")
    monkeypatch.setattr(Hed.__init__, "__defaults__", ((2, 2, 2, 2, 2),))
    monkeypatch.setattr(segments.load_hed, "__defaults__", ((2, 2, 2, 2, 2),))
    assert write(store, tmp_path / "out", hed)["images"] == 5
    threads = torch.get_num_threads()
    assert threads == 1
