"""dvc.lock, one entry at a time: DVC's bytes, in the order of dvc.yaml, and never half a file."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import dumps_yaml, load_yaml

from pipeline.workflow.lock_file import read, record

ORDER = ("check", "train@a", "train@ab", "report")
ENTRIES: dict[str, dict[str, Any]] = {
    name: {
        "cmd": f"python stages/{name}.py  --text '{'long ' * 40}: # {name}'",
        "deps": [{"path": "data/a b", "hash": "md5", "md5": "0" * 32, "size": 3}],
        "params": {"params.yaml": {"lines": "one\n  two\n\nthree", "rate": 1e-05, "none": None, "list": []}},
        "outs": [{"path": f"{name}.txt", "hash": "md5", "md5": "1e5", "size": 4}],
    }
    for name in ORDER
}


def _whole(names: tuple[str, ...]) -> str:
    return str(dumps_yaml({"schema": "2.0", "stages": {name: ENTRIES[name] for name in names}}))


@pytest.mark.parametrize("seed", range(6))
def test_is_what_dvc_writes_in_whatever_order_stages_end(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "dvc.lock"
    for name in random.Random(seed).sample(ORDER, len(ORDER)):
        record(path, name, ENTRIES[name], ORDER)
    assert path.read_text(encoding="utf-8") == _whole(ORDER)
    assert load_yaml(path)["stages"] == ENTRIES


def test_reads_one_entry(tmp_path: Path) -> None:
    path = tmp_path / "dvc.lock"
    assert read(path, "check") == {}
    path.write_text(_whole(("check", "train@a")), encoding="utf-8")
    assert read(path, "train@a") == {"train@a": ENTRIES["train@a"]}
    assert read(path, "train@ab") == {}


def test_replaces_an_entry_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "dvc.lock"
    names = ("report", "check", "train@ab")  # another order, as in a file that grew
    changed = {**ENTRIES["check"], "cmd": "other"}
    path.write_text(_whole(names), encoding="utf-8")
    record(path, "check", changed, ORDER)
    assert load_yaml(path)["stages"] == {name: ENTRIES[name] for name in names} | {"check": changed}
    record(path, "check", ENTRIES["check"], ORDER)
    assert path.read_text(encoding="utf-8") == _whole(names)
    record(path, "train@a", ENTRIES["train@a"], ORDER)
    assert path.read_text(encoding="utf-8") == _whole(("train@a", *names))


@pytest.mark.parametrize("names", [(), ("check", "report")])
@pytest.mark.parametrize("first", [True, False])
def test_what_else_dvc_keeps_there_stays(tmp_path: Path, names: tuple[str, ...], first: bool) -> None:
    path = tmp_path / "dvc.lock"
    other = {"datasets": [{"name": "shapes", "type": "url", "url": "s3://shapes", "lock": {"files": []}}]}
    stages = {"stages": {name: ENTRIES[name] for name in names}}
    start = {"schema": "2.0"}
    path.write_text(dumps_yaml(start | (other | stages if first else stages | other)), encoding="utf-8")
    record(path, "train@a", ENTRIES["train@a"], ORDER)
    record(path, "check", ENTRIES["check"], ORDER)
    written = load_yaml(path)
    assert written["datasets"] == other["datasets"]
    assert list(written["stages"].items()) == [
        (name, ENTRIES[name]) for name in ORDER if name in written["stages"]
    ]
    assert set(written["stages"]) == {"check", "train@a", *names}


@pytest.mark.parametrize(
    "start", ["", "\n", "sche", "schema: '2.", "schema: '2.0'\n", "schema: '2.0'\nstages:\n"]
)
def test_a_header_that_was_cut_is_written_anew(tmp_path: Path, start: str) -> None:
    path = tmp_path / "dvc.lock"
    path.write_text(start, encoding="utf-8")
    record(path, "check", ENTRIES["check"], ORDER)
    assert path.read_text(encoding="utf-8") == _whole(("check",))


def test_a_file_that_ends_within_a_line_stays_one_that_dvc_reads(tmp_path: Path) -> None:
    """As one that a plain DVC was killed in: its last entry may be short, and still be YAML."""
    path = tmp_path / "dvc.lock"
    whole = _whole(("check", "train@a"))
    for end in ("    outs:\n    - path: train@a.txt", "    outs:\n    - path: train@a.txt\n      "):
        path.write_text(whole[: whole.rindex(end) + len(end)], encoding="utf-8")
        record(path, "report", ENTRIES["report"], ORDER)
        stages = load_yaml(path)["stages"]
        assert list(stages) == ["check", "train@a", "report"]
        assert stages["train@a"]["outs"] == [{"path": "train@a.txt"}]
        assert stages["report"] == ENTRIES["report"]


def test_a_write_that_is_cut_short_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "dvc.lock"
    record(path, "check", ENTRIES["check"], ORDER)
    before = path.read_bytes()

    def killed(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        record(path, "report", ENTRIES["report"], ORDER)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["dvc.lock"]
