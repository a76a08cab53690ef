"""Packs of one array per image."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.data import packs
from pipeline.data.packs import Pack, encode_map, encode_scores, write_pack
from pipeline.errors import UserError
from tests.data.png_header import png_header


@given(
    values=hnp.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=20),
    )
)
def test_maps_come_back_as_they_were(values: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("pack")
    write_pack(folder, [(7, encode_map(values))], {})
    read = Pack(folder).read(7)
    assert read.dtype == values.dtype
    np.testing.assert_array_equal(read, values)


def test_scores_and_what_is_said_of_them_come_back(tmp_path: Path) -> None:
    scores = np.random.default_rng(0).random((3, 5, 4)).astype(np.float16)
    write_pack(tmp_path, [(2, encode_scores(scores))], {"classes": ["a", "b", "c"]})
    pack = Pack(tmp_path)
    assert pack.about == {"classes": ["a", "b", "c"]}
    assert pack.ids == [2]
    assert 2 in pack
    assert 3 not in pack
    np.testing.assert_array_equal(pack.read(2), scores)


def test_many_maps_fill_several_files_and_equal_maps_give_equal_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "PACK_IMAGES", 2)
    members = [(image, encode_map(np.full((2, 3), image, np.uint8))) for image in (5, 1, 4, 2)]
    for name in ("one", "two"):
        write_pack(tmp_path / name, members, {})
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["pack-000.zip", "pack-001.zip", "pack.json"]
    assert all(
        (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes() for file in files
    )
    pack = pickle.loads(pickle.dumps(Pack(tmp_path / "one")))
    assert [int(pack.read(image)[0, 0]) for image in pack.ids] == [1, 2, 4, 5]


def test_nothing_of_an_older_pack_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "PACK_IMAGES", 1)
    member = (1, encode_map(np.zeros((2, 3), np.uint8)))
    folder = tmp_path / "pack"
    write_pack(folder, [member, (2, member[1])], {})
    with pytest.raises(ValueError, match="image 1 comes twice"):
        write_pack(folder, [member, member], {})
    with pytest.raises(UserError, match=r"pack\.json: file not found"):
        Pack(folder)
    write_pack(folder, [member, (2, member[1])], {})
    write_pack(folder, [member], {})
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["pack", "pack-000.zip", "pack.json"]


def test_an_image_that_comes_twice_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="image 1 comes twice"):
        write_pack(tmp_path, [(1, b"\x89PNG"), (1, b"\x89PNG")], {})


@pytest.mark.parametrize("values", [np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.int32)])
def test_what_is_no_map_is_refused(values: Any) -> None:
    with pytest.raises(ValueError, match="a map is"):
        encode_map(values)


def test_damage_is_one_line(tmp_path: Path) -> None:
    write_pack(tmp_path, [(1, encode_map(np.zeros((2, 2), np.uint8))), (2, b"\x89PNG and no more")], {})
    pack = Pack(tmp_path)
    with pytest.raises(
        UserError, match=r"pack-000.zip: 2.png: cannot be read: it is not a PNG of one channel"
    ):
        pack.read(2)
    write_pack(tmp_path / "huge", [(1, png_header(60000, 60000))], {})
    with pytest.raises(UserError, match=r"1\.png: cannot be read: it is not a PNG of one channel"):
        Pack(tmp_path / "huge").read(1)
    with pytest.raises(UserError, match="image 3: has no map here"):
        pack.read(3)
    (tmp_path / "pack-000.zip").write_bytes(b"no zip")
    with pytest.raises(UserError, match="cannot be read"):
        Pack(tmp_path).read(1)
    (tmp_path / "pack.json").write_text('{"images": [{}]}')
    with pytest.raises(UserError, match="is not a list of maps"):
        Pack(tmp_path)
