"""Packs that take long to make: killed, they go on where they were."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pipeline.data.packs import write_pack
from pipeline.labels.shards import Shards

Member = tuple[int, bytes]  # image id, encoded array


class PackWriter:
    """Takes the arrays of a pack one by one, keeps them in shards, and makes one pack of them in the end.

    A work that was killed goes on with the images that are left, to the same bytes.
    """

    def __init__(self, ids: Iterable[int], resume: Path, key: str, *, shard_bytes: int = 8 * 2**20) -> None:
        """resume: a folder for this pack alone, whose lock the caller holds; key: a hash of what matters."""
        self._ids, self._shard_bytes = list(ids), shard_bytes
        self._shards = Shards(resume, key)
        self._done = {json.loads(line)["id"] for line in self._shards.lines()}
        self._pending: list[str] = []
        self._size = 0

    @property
    def remaining(self) -> list[int]:
        """The images that still need an array, in order."""
        return [image_id for image_id in self._ids if image_id not in self._done]

    def add(self, image_id: int, data: bytes) -> None:
        """Store one array; it is on disk once a shard is full.  Raises ValueError if it comes twice."""
        if image_id in self._done:
            raise ValueError(f"image {image_id} comes twice")
        self._done.add(image_id)
        self._pending.append(json.dumps({"id": image_id, "data": base64.b64encode(data).decode("ascii")}))
        self._size += len(self._pending[-1])
        if self._size >= self._shard_bytes:
            self._flush()

    def members(self) -> Iterator[Member]:
        """All arrays, those of earlier tries too.  Raises ValueError while an image is without one."""
        self._flush()
        if rest := self.remaining:
            raise ValueError(f"{len(rest)} images have no array yet, the first is {rest[0]}")
        for line in self._shards.lines():
            row = json.loads(line)
            yield row["id"], base64.b64decode(row["data"])

    def finish(self, folder: Path, about: dict[str, Any]) -> None:
        """Write the pack.  Raises ValueError while an image is without an array."""
        write_pack(folder, self.members(), about)

    def _flush(self) -> None:
        if self._pending:
            self._shards.append(self._pending)
        self._pending, self._size = [], 0
