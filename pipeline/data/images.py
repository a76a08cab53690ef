"""Images of a split, from a user's folder or from stored zips, behind one reader."""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pipeline.data.pixels import ImageError, decode_image
from pipeline.errors import UserError
from pipeline.files import read_json, replacing, write_json

SHARD_IMAGES = 1000  # per zip: few files for DVC to hash, each small enough to copy
CACHE_BYTES = 256 * 2**20  # of decoded images, per process


@dataclass(frozen=True)
class ImageRecord:
    """One image: `width` and `height` are those of the upright pixels; `file_name` as in the dataset."""

    id: int
    file_name: str
    width: int
    height: int


@dataclass(frozen=True)
class _Place:
    """Where an image's bytes are and what they must add up to; `shard` is None in a folder store."""

    file_name: str
    crc32: int
    shard: str | None


class ImageStore:
    """Reads the images of one split by id.  Picklable; every process opens its own zip handles."""

    def __init__(
        self, folder: Path, records: list[ImageRecord], places: dict[int, _Place], images: Path | None
    ) -> None:
        """`images`: the folder of the image files, or None when they are in zips beside images.json."""
        self.folder, self.records, self._places = folder, records, places
        self._images = None if images is None else os.path.realpath(images)
        self._zips: dict[str, zipfile.ZipFile] = {}
        self._pid = os.getpid()

    @classmethod
    def open(cls, folder: Path, root: Path = Path()) -> ImageStore:
        """Open the folder that holds images.json; a folder source is relative to `root`, the repository.

        Raises UserError when images.json is missing or is not what write_*_store writes.
        """
        file = folder / "images.json"
        content = read_json(file)
        try:
            source, rows = content["source"], content["images"]
            images = root / _inside(file, source["path"]) if source["kind"] == "folder" else None
            records = [
                ImageRecord(row["id"], _inside(file, row["file_name"]), row["width"], row["height"])
                for row in rows
            ]
            places = {
                row["id"]: _Place(row["file_name"], row["crc32"], _shard(file, row, images)) for row in rows
            }
        except (KeyError, TypeError) as error:
            raise UserError(
                file,
                "",
                f"is not an image list ({type(error).__name__}: {error})",
                "delete it and run `dvc repro`",
            ) from None
        return cls(folder, records, places, images)

    def read(self, image_id: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, upright.  Raises UserError when the file is gone, changed or damaged."""
        place = self._places[image_id]
        where = self._images or self.folder / str(place.shard)
        try:
            data = self._bytes(place)
            if zlib.crc32(data) != place.crc32:
                raise ImageError("the file is not the one that was imported")
            return decode_image(data).pixels
        except (ImageError, OSError, zipfile.BadZipFile, KeyError) as error:
            problem = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise UserError(
                where,
                place.file_name,
                f"cannot be read: {problem}",
                "put the dataset back in order and run `dvc repro`",
            ) from None

    def path(self, image_id: int) -> Path:
        """Where the image is: a file, or a zip and the name in it."""
        place = self._places[image_id]
        return Path(self._images or self.folder / str(place.shard)) / place.file_name

    def _bytes(self, place: _Place) -> bytes:
        if place.shard is None:
            assert self._images is not None
            return read_inside(self._images, place.file_name)
        if self._pid != os.getpid():  # after a fork, a shared handle would share its file position
            self._zips, self._pid = {}, os.getpid()
        if place.shard not in self._zips:
            self._zips[place.shard] = zipfile.ZipFile(self.folder / place.shard)
        return self._zips[place.shard].read(place.file_name)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_zips": {}}


class ImageCache:
    """Decoded images by id, all of them if they fit into `capacity` bytes together, else none.

    Samples come in random order: a part of a large dataset would hardly ever be met again, in every worker.
    """

    def __init__(self, store: ImageStore, capacity: int = CACHE_BYTES) -> None:
        self._store = store
        self._fits = sum(3 * record.width * record.height for record in store.records) <= capacity
        self._pixels: dict[int, NDArray[np.uint8]] = {}

    def read(self, image_id: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB; not to be written to."""
        if image_id in self._pixels:
            return self._pixels[image_id]
        pixels = self._store.read(image_id)
        if self._fits:
            self._pixels[image_id] = pixels
        return pixels

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pixels": {}}


def read_image(file: Path | BinaryIO) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB, upright, of any image file.  Raises UserError when it cannot be read."""
    try:
        data = file.read_bytes() if isinstance(file, Path) else file.read()
        return decode_image(data).pixels
    except OSError as error:
        raise UserError(file, "", f"cannot be read: {error.strerror or error}") from None
    except ImageError as error:
        raise UserError(file if isinstance(file, Path) else "image", "", str(error)) from None


def write_folder_store(folder: Path, path: str, images: Iterable[tuple[ImageRecord, int]]) -> None:
    """Write `folder`/images.json for image files that stay where they are.

    path: their folder relative to the repository; images: records, each with the CRC-32 of its file.
    """
    rows = [{**asdict(record), "crc32": crc32} for record, crc32 in images]
    _write_list(folder, {"kind": "folder", "path": path}, rows)


def write_zip_store(folder: Path, images: Iterable[tuple[ImageRecord, bytes]]) -> None:
    """Write encoded images (PNG or JPEG bytes) as stored zips in `folder`, with images.json.

    Streams: one image is in memory at a time.  Equal images in equal order give equal bytes.
    """
    rows: list[dict[str, Any]] = []
    iterator = iter(images)
    pending = next(iterator, None)
    while pending is not None:
        shard = f"images-{len(rows) // SHARD_IMAGES:03d}.zip"
        with replacing(folder / shard) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            while pending is not None:
                rows.append(_store(archive, shard, *pending))
                pending = next(iterator, None)
                if len(rows) % SHARD_IMAGES == 0:
                    break
    _write_list(folder, {"kind": "zip"}, rows)


def _store(archive: zipfile.ZipFile, shard: str, record: ImageRecord, data: bytes) -> dict[str, Any]:
    # A fixed date and mode, so that the zip's bytes depend on the images alone.
    entry = zipfile.ZipInfo(record.file_name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o644 << 16
    entry.create_system = 3  # Unix, on every machine
    archive.writestr(entry, data, zipfile.ZIP_STORED)
    return {**asdict(record), "crc32": zlib.crc32(data), "shard": shard}


def _write_list(folder: Path, source: dict[str, str], rows: list[dict[str, Any]]) -> None:
    write_json(folder / "images.json", {"source": source, "images": sorted(rows, key=lambda row: row["id"])})


def leaves_folder(name: str) -> str:
    """Why `name` is no relative path that stays in its folder, or "" if it is one."""
    if not name or "\0" in name or name in (".", "./"):
        return "is not a file name"
    if PurePosixPath(name).is_absolute() or PureWindowsPath(name).is_absolute() or name.startswith("\\"):
        return "is absolute, and a path must be relative to its folder"
    if ".." in PurePosixPath(name).parts or ".." in PureWindowsPath(name).parts:
        return "leaves its folder"
    return "is written with backslashes; write / between folders" if "\\" in name else ""


def is_inside(folder: str, name: str) -> bool:
    """Whether `folder`/`name` still lies in `folder`, a real path, once symbolic links are followed."""
    return os.path.realpath(os.path.join(folder, name)).startswith(os.path.join(folder, ""))


def read_inside(folder: str, name: str) -> bytes:
    """The bytes of the regular file `folder`/`name`, where `folder` is a real path.

    Raises OSError, or ImageError for anything that is no regular file inside the folder.
    """
    if not is_inside(folder, name):
        raise ImageError("a link leads outside the images folder")
    path = os.path.join(folder, name)
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):  # a folder, or a pipe on which reading would wait for ever
        raise ImageError("is a folder, not a file" if stat.S_ISDIR(mode) else "is not a regular file")
    with open(path, "rb") as stream:
        return stream.read()


def _inside(file: Path, name: str) -> str:
    problem = leaves_folder(name)
    if problem:
        raise UserError(file, repr(name), problem)
    return name


def _shard(file: Path, row: dict[str, Any], images: Path | None) -> str | None:
    return None if images else _inside(file, row["shard"])
