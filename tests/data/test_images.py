"""Image stores: both kinds read back what was written, safely and in every process."""

from __future__ import annotations

import io
import json
import multiprocessing
import pickle
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data import images
from pipeline.data.images import (
    ImageCache,
    ImageRecord,
    ImageStore,
    leaves_folder,
    read_image,
    write_folder_store,
    write_zip_store,
)
from pipeline.errors import UserError


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def png(seed: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels(seed)).save(stream, format="PNG")
    return stream.getvalue()


def record(image_id: int) -> ImageRecord:
    return ImageRecord(image_id, f"{image_id}.png", 8, 6)


@pytest.fixture
def zip_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(images, "SHARD_IMAGES", 2)
    write_zip_store(tmp_path / "train", ((record(n), png(n)) for n in (5, 3, 1, 2, 4)))
    return tmp_path / "train"


@pytest.fixture
def folder_store(tmp_path: Path) -> Path:
    (tmp_path / "data" / "mine").mkdir(parents=True)
    for n in (1, 2):
        (tmp_path / "data" / "mine" / f"{n}.png").write_bytes(png(n))
    write_folder_store(tmp_path / "train", "data/mine", [(record(n), zlib.crc32(png(n))) for n in (2, 1)])
    return tmp_path / "train"


def test_zips_give_every_image_back(zip_store: Path) -> None:
    store = ImageStore.open(zip_store)
    assert store.records == [record(n) for n in (1, 2, 3, 4, 5)]
    for n in (1, 2, 3, 4, 5):
        np.testing.assert_array_equal(store.read(n), pixels(n))
    assert sorted(path.name for path in zip_store.iterdir()) == [
        "images-000.zip",
        "images-001.zip",
        "images-002.zip",
        "images.json",
    ]


def test_equal_images_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_zip_store(tmp_path / name, [(record(n), png(n)) for n in (1, 2)])
    for name in ("images.json", "images-000.zip"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_no_images_is_a_list_without_shards(tmp_path: Path) -> None:
    write_zip_store(tmp_path, [])
    assert [path.name for path in tmp_path.iterdir()] == ["images.json"]


def test_a_folder_store_reads_relative_to_the_root(
    folder_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.testing.assert_array_equal(ImageStore.open(folder_store, folder_store.parent).read(2), pixels(2))
    monkeypatch.chdir(folder_store.parent)
    np.testing.assert_array_equal(ImageStore.open(Path("train")).read(1), pixels(1))


def test_a_pickled_store_and_a_forked_one_read(zip_store: Path) -> None:
    store = ImageStore.open(zip_store)
    store.read(1)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(store)).read(3), pixels(3))
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for n, found in zip((1, 2, 3, 4, 5), pool.map(store.read, (1, 2, 3, 4, 5)), strict=True):
            np.testing.assert_array_equal(found, pixels(n))


def test_a_changed_or_missing_file_is_named(folder_store: Path) -> None:
    root = folder_store.parent
    store = ImageStore.open(folder_store, root)
    (root / "data" / "mine" / "1.png").write_bytes(png(9))
    with pytest.raises(UserError, match=r"1\.png: cannot be read: .*not the one that was imported"):
        store.read(1)
    (root / "data" / "mine" / "2.png").unlink()
    with pytest.raises(UserError, match=r"2\.png: cannot be read: No such file"):
        store.read(2)


def test_a_damaged_or_missing_zip_is_named(zip_store: Path) -> None:
    (zip_store / "images-000.zip").write_bytes(b"PK")
    (zip_store / "images-001.zip").unlink()
    store = ImageStore.open(zip_store)
    with pytest.raises(UserError, match=r"images-000\.zip: 5\.png: cannot be read"):
        store.read(5)
    with pytest.raises(UserError, match=r"images-001\.zip: 1\.png: cannot be read"):
        store.read(1)


def test_a_link_that_leads_outside_is_not_followed(folder_store: Path) -> None:
    root = folder_store.parent
    (root / "secret.png").write_bytes(png(1))
    (root / "data" / "mine" / "1.png").unlink()
    (root / "data" / "mine" / "1.png").symlink_to(root / "secret.png")
    with pytest.raises(UserError, match="leads outside"):
        ImageStore.open(folder_store, root).read(1)


@pytest.mark.parametrize("key", ["file_name", "shard"])
def test_an_image_list_cannot_name_files_outside(zip_store: Path, key: str) -> None:
    content = json.loads((zip_store / "images.json").read_text())
    content["images"][0][key] = "../x"
    (zip_store / "images.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"'\.\./x': leaves its folder"):
        ImageStore.open(zip_store)


@pytest.mark.parametrize("content", [[], {}, {"source": {"kind": "zip"}, "images": [{"id": 1}]}])
def test_another_json_is_no_image_list(tmp_path: Path, content: object) -> None:
    (tmp_path / "images.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="is not an image list"):
        ImageStore.open(tmp_path)


@pytest.mark.parametrize(
    "name", ["a.jpg", "x/y/a.jpg", "a..b.jpg", "...", "été 图.jpg", "./a.jpg", "a:b.jpg"]
)
def test_names_inside_a_folder_are_accepted(name: str) -> None:
    assert leaves_folder(name) == ""


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../a", "x/../../a", "/a", "\\a", "\\\\host\\a", "C:/a", "x\\..\\a", "a\0b"]
)
def test_other_names_are_not(name: str) -> None:
    assert leaves_folder(name)


def test_read_image_takes_paths_and_streams(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(3))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels(3))
    np.testing.assert_array_equal(read_image(io.BytesIO(png(3))), pixels(3))
    with pytest.raises(UserError, match=r"b\.png: cannot be read"):
        read_image(tmp_path / "b.png")


@pytest.mark.parametrize(("spare", "expected"), [(0, [1, 2, 3]), (-1, [1, 2, 3, 1, 2, 3])])
def test_the_cache_holds_all_images_or_none(
    tmp_path: Path, spare: int, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_zip_store(tmp_path, ((record(key), png(key)) for key in (1, 2, 3)))
    store, reads = ImageStore.open(tmp_path), list[int]()
    read = store.read
    monkeypatch.setattr(store, "read", lambda key: reads.append(key) or read(key))
    cache = ImageCache(store, capacity=3 * 3 * 6 * 8 + spare)
    for key in (1, 2, 3, 1, 2, 3):
        np.testing.assert_array_equal(cache.read(key), pixels(key))
    assert reads == expected
