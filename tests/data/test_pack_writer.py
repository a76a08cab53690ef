"""Packs that are made in several goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data.pack_writer import PackWriter
from pipeline.data.packs import Pack

IDS = (4, 2, 9)
DATA = {key: b"\x89PNG of " + bytes([key]) for key in IDS}


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("shard_bytes", [1, 1000])
@pytest.mark.parametrize("killed_after", [0, 1, 2, 3])
def test_a_killed_work_goes_on_to_the_same_bytes(tmp_path: Path, shard_bytes: int, killed_after: int) -> None:
    straight = PackWriter(IDS, tmp_path / "straight", "key")
    for key in IDS:
        straight.add(key, DATA[key])
    straight.finish(tmp_path / "a", {"n": 1})
    killed = PackWriter(IDS, tmp_path / "killed", "key", shard_bytes=shard_bytes)
    for key in IDS[:killed_after]:
        killed.add(key, DATA[key])
    again = PackWriter(IDS, tmp_path / "killed", "key", shard_bytes=shard_bytes)
    stored = killed_after if shard_bytes == 1 else 0
    assert again.remaining == list(IDS[stored:])
    for key in again.remaining:
        again.add(key, DATA[key])
    again.finish(tmp_path / "b", {"n": 1})
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert Pack(tmp_path / "b").ids == [2, 4, 9]


def test_work_of_another_key_is_made_anew(tmp_path: Path) -> None:
    first = PackWriter(IDS, tmp_path, "key", shard_bytes=1)
    first.add(4, DATA[4])
    assert PackWriter(IDS, tmp_path, "other").remaining == list(IDS)


def test_bugs_are_refused(tmp_path: Path) -> None:
    writer = PackWriter(IDS, tmp_path / "resume", "key")
    writer.add(2, DATA[2])
    with pytest.raises(ValueError, match="image 2 comes twice"):
        writer.add(2, DATA[2])
    with pytest.raises(ValueError, match="2 images have no array yet, the first is 4"):
        writer.finish(tmp_path / "pack", {})
