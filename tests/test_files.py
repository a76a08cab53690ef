"""Files are written whole or not at all, and equal values give equal bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.files import read_json, replacing, replacing_folder, write_json


def test_json_does_not_depend_on_the_order_of_keys(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": [1.5, "é"]})
    write_json(tmp_path / "b.json", {"a": [1.5, "é"], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert read_json(tmp_path / "a.json") == {"a": [1.5, "é"], "b": 1}


def write_half(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("stopped half way")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, 1)
    with pytest.raises(ValueError):
        write_json(path, float("nan"))
    with pytest.raises(RuntimeError, match="stopped half way"):
        write_half(path)
    assert read_json(path) == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "message"), [(None, "file not found"), (b"{", "not valid JSON"), (b"\xff", "JSON")]
)
def test_unreadable_json_is_one_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_json(path)
    assert "\n" not in str(caught.value)


def fill_half(path: Path) -> None:
    with replacing_folder(path) as temporary:
        (temporary / "half").touch()
        raise RuntimeError("stopped half way")


def test_a_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out"
    for name in ("old", "new"):
        with replacing_folder(path) as temporary:
            (temporary / name).touch()
    assert [file.name for file in path.iterdir()] == ["new"]
    with pytest.raises(RuntimeError, match="stopped half way"):
        fill_half(path)
    assert [file.name for file in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]
