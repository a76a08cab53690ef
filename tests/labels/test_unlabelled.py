"""The list of unlabelled images holds ids and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.labels.unlabelled import read_unlabelled, write_unlabelled


def test_round_trip_in_order_of_id(tmp_path: Path) -> None:
    write_unlabelled(tmp_path / "unlabelled.json", [9, 2, 5])
    assert (tmp_path / "unlabelled.json").read_text() == '{"images":[2,5,9]}\n'
    assert read_unlabelled(tmp_path / "unlabelled.json") == [2, 5, 9]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "must be"),
        ('{"images": {}}', "must be"),
        ('{"images": [1], "annotations": []}', "must be"),
        ('{"images": [1, "2"]}', "an id must be a whole number, and one is '2'"),
        ('{"images": [1, 1]}', "the id 1 occurs twice"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "unlabelled.json").write_text(text)
    with pytest.raises(UserError, match=message):
        read_unlabelled(tmp_path / "unlabelled.json")
