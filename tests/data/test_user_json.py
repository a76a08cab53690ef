"""JSON files of the user."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data.user_json import read_user_json
from pipeline.errors import UserError


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": [1, "\xc3\xa9"]}')
    assert read_user_json(path) == {"a": [1, "é"]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"a": 1, "b": {"id": 7, "c": 1, "c": 2}}', "the key 'c' .of the object with id 7. occurs twice"),
        (b'{"a": ', "not complete, valid JSON"),
        (b'"\xff"', "not UTF-8"),
        (b"[" * 100_000, "not usable JSON"),
    ],
)
def test_damage_is_one_line(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=problem) as caught:
        read_user_json(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_user_json(tmp_path / "none.json")
