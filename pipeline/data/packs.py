"""One small array per image, many in one file: label maps, region maps and score maps between stages.

DVC hashes files, so that thousands of small ones would be slow; a pack is a folder of stored zips of at
most `PACK_IMAGES` members each, and a list.  The members are what the field reads: PNG for maps of whole
numbers (8 bit for classes, 16 bit for regions), npy for scores.
"""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.files import read_json, replacing, write_json

PACK_IMAGES = 1000
_LIST = "pack.json"
_PNG = b"\x89PNG"
_REMEDY = "delete it and run `dvc repro`"


def encode_map(values: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """PNG bytes of an (H, W) uint8 or uint16 map.  Equal maps give equal bytes."""
    if values.ndim != 2 or values.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"a map is (H, W) uint8 or uint16, not {values.shape} {values.dtype}")
    done, data = cv2.imencode(".png", np.ascontiguousarray(values), [cv2.IMWRITE_PNG_COMPRESSION, 6])
    if not done:
        raise ValueError(f"a map of {values.shape} cannot be written as PNG")
    return data.tobytes()


def encode_scores(values: NDArray[Any]) -> bytes:
    """npy bytes of an array of numbers of any shape."""
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(values), allow_pickle=False)
    return stream.getvalue()


def decode(data: bytes) -> NDArray[Any]:
    """What `encode_map` or `encode_scores` encoded.  Raises ValueError or EOFError for anything else."""
    if not data.startswith(_PNG):
        return np.asarray(np.load(io.BytesIO(data), allow_pickle=False))
    try:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # of a header with more pixels than OpenCV reads
        values = None
    if values is None or values.ndim != 2:
        raise ValueError("it is not a PNG of one channel")
    return values


def write_pack(folder: Path, members: Iterable[tuple[int, bytes]], about: dict[str, Any]) -> None:
    """Write one encoded array per image id, as stored zips in `folder`, with a list.

    about: what a reader must know of the arrays, as JSON (names of classes, codes, levels).  Streams: one
    member is in memory at a time.  Equal members in equal order give equal bytes.  A pack that was there is
    removed first, so that a killed work leaves none, and not one that is partly old; other files stay.
    Raises ValueError for an id that comes twice.
    """
    for file in (folder / _LIST, *folder.glob("pack-*.zip")):
        file.unlink(missing_ok=True)
    rows: dict[int, dict[str, Any]] = {}
    iterator = iter(members)
    pending = next(iterator, None)
    while pending is not None:
        shard = f"pack-{len(rows) // PACK_IMAGES:03d}.zip"
        with replacing(folder / shard) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            while pending is not None:
                image_id, data = pending
                if image_id in rows:
                    raise ValueError(f"image {image_id} comes twice")
                rows[image_id] = {"shard": shard, "member": _store(archive, image_id, data)}
                pending = next(iterator, None)
                if len(rows) % PACK_IMAGES == 0:
                    break
    listed = [{"id": image_id, **rows[image_id]} for image_id in sorted(rows)]
    write_json(folder / _LIST, {"about": about, "images": listed})


def _store(archive: zipfile.ZipFile, image_id: int, data: bytes) -> str:
    ending = "png" if data.startswith(_PNG) else "npy"
    name = f"{image_id}.{ending}"
    # A fixed date and mode, so that the zip's bytes depend on the arrays alone.
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o644 << 16
    entry.create_system = 3  # Unix, on every machine
    archive.writestr(entry, data, zipfile.ZIP_STORED)
    return name


class Pack:
    """Reads the arrays of a pack by image id.  Picklable; every process opens its own zip handles."""

    def __init__(self, folder: Path) -> None:
        """Open a folder that `write_pack` wrote.  Raises UserError when its list is missing or damaged."""
        self.folder = folder
        content = read_json(folder / _LIST)
        try:
            self.about: dict[str, Any] = dict(content["about"])
            self._places = {
                int(row["id"]): (Path(str(row["shard"])).name, str(row["member"]))
                for row in content["images"]
            }
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                folder / _LIST, "", f"is not a list of maps ({type(error).__name__}: {error})", _REMEDY
            ) from None
        self._zips: dict[str, zipfile.ZipFile] = {}
        self._pid = os.getpid()

    @property
    def ids(self) -> list[int]:
        """The images that have an array, ascending."""
        return sorted(self._places)

    def __contains__(self, image_id: int) -> bool:
        return image_id in self._places

    def read(self, image_id: int) -> NDArray[Any]:
        """The array of an image: (H, W) uint8 or uint16 of a map, any shape of scores.

        Raises UserError when there is none or it is damaged.
        """
        if image_id not in self._places:
            raise UserError(self.folder, f"image {image_id}", "has no map here", _REMEDY)
        shard, member = self._places[image_id]
        try:
            data = self._archive(shard).read(member)
            return decode(data)
        except (OSError, zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError) as error:
            raise UserError(self.folder / shard, member, f"cannot be read: {error}", _REMEDY) from None

    def _archive(self, shard: str) -> zipfile.ZipFile:
        if self._pid != os.getpid():  # after a fork, a shared handle would share its file position
            self._zips, self._pid = {}, os.getpid()
        if shard not in self._zips:
            self._zips[shard] = zipfile.ZipFile(self.folder / shard)
        return self._zips[shard]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_zips": {}}
