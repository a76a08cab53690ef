"""A JSON file read piece by piece gives what reading it as a whole gives."""

from __future__ import annotations

import codecs
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.labels import json_stream
from pipeline.labels.json_stream import List, elements, members

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(
    content=st.dictionaries(st.text(), VALUES, max_size=5),
    block=st.integers(1, 40),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 1]),
    mark=st.booleans(),
)
def test_equals_reading_at_once(
    content: dict[str, Any], block: int, ascii_only: bool, indent: int | None, mark: bool
) -> None:
    text = json.dumps(content, ensure_ascii=ascii_only, indent=indent)
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:  # half a surrogate pair, which no file can hold
        return
    before, json_stream.BLOCK = json_stream.BLOCK, block
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "content.json"
            path.write_bytes(mark * codecs.BOM_UTF8 + data)
            found = members(path)
            assert list(found) == list(content)
            for key, value in content.items():
                if isinstance(value, list):
                    assert isinstance(found[key], List)
                    rows = list(elements(path, key))
                    assert [row.value for row in rows] == value
                    whole = path.read_bytes()
                    parts = [whole[row.offset : row.offset + row.length] for row in rows]
                    assert [json.loads(part.decode("utf-8")) for part in parts] == value
                else:
                    assert found[key] == value
    finally:
        json_stream.BLOCK = before


def test_a_key_that_is_no_list_has_no_elements(tmp_path: Path) -> None:
    path = tmp_path / "content.json"
    path.write_text('{"a": {"b": [1]}, "c": []}')
    assert [list(elements(path, key)) for key in "abc"] == [[], [], []]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        '{"a": [1, 2}',
        '{"a": [1 2]}',
        '{"a": [1,]}',
        '{"a": 1,}',
        '{"a" 1}',
        '{"a": 1} x',
        '{"a": [1',
    ],
)
def test_what_is_no_json_object_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "content.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"content\.json: not a JSON object") as caught:
        members(path)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "content.json"
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(UserError, match="not a JSON object"):
        members(path)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.json: file not found"):
        list(elements(tmp_path / "none.json", "annotations"))
