from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from pipeline.engine import checkpoint
from pipeline.engine.checkpoint import check_disk, load_checkpoint, save_checkpoint
from pipeline.errors import UserError


def test_round_trip(tmp_path: Path) -> None:
    state = {"step": 3, "model": {"weight": torch.arange(4.0)}, "rows": [{"loss": 0.5}], "average": None}
    save_checkpoint(tmp_path, "key", state)
    (tmp_path / ".state.pt.123.pt").write_text("half of one")
    loaded = load_checkpoint(tmp_path, "key")
    assert loaded is not None
    torch.testing.assert_close(loaded["model"].pop("weight"), state["model"].pop("weight"))  # type: ignore
    assert loaded == state
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


def test_no_checkpoint_is_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load_checkpoint(tmp_path, "key") is None
    assert capsys.readouterr().err == ""


def test_other_key_is_ignored_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_checkpoint(tmp_path, "key", {"step": 3})
    assert load_checkpoint(tmp_path, "other") is None
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_cut_off_file_is_ignored_in_one_line(
    tmp_path: Path, share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path, "key", {"model": torch.zeros(1000)})
    path = tmp_path / "state.pt"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert load_checkpoint(tmp_path, "key") is None
    assert capsys.readouterr().err.count("\n") == 1


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "trapped",)  # type: ignore[return-value]

    torch.save({"key": "key", "model": Trap()}, tmp_path / "state.pt")
    assert load_checkpoint(tmp_path, "key") is None
    assert not (tmp_path / "trapped").exists()


def test_a_failed_write_keeps_the_previous_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, "key", {"step": 3})

    def full(*_: object) -> None:
        raise RuntimeError("PytorchStreamWriter failed writing file")

    monkeypatch.setattr(checkpoint.torch, "save", full)
    with pytest.raises(UserError, match="make space"):
        save_checkpoint(tmp_path, "key", {"step": 4})
    assert load_checkpoint(tmp_path, "key") == {"step": 3}


def test_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: ModuleType) -> None:
    module = nn.Linear(1024, 1024, bias=False)  # 4 MiB
    usage = namedtuple("usage", "total used free")

    def enough(mebibytes: int) -> bool:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, mebibytes * 2**20))
        try:
            check_disk(tmp_path, module, tiny.settings(optimizer="adamw", ema=0.9))
        except UserError:
            return False
        return True

    # Two files of weights, average and two moments, and 64 MiB to spare.
    assert enough(2 * 4 * 4 + 64)
    assert not enough(2 * 4 * 4 + 63)
