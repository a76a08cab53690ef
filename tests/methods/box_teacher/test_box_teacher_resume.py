"""A training killed at any step ends in the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.box_teacher_settings import STEPS
from tests.train_apart import train_apart

SCRIPT = Path(__file__).with_name("box_teacher_training.py")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_apart(root, SCRIPT, tmp_path_factory.mktemp("box_teacher"))


@pytest.mark.parametrize("name", ["weights.safetensors", "history.json", "records.json"])
def test_a_killed_training_goes_on_to_the_same_bytes(trained: Path, name: str) -> None:
    assert (trained / "killed" / name).read_bytes() == (trained / "undisturbed" / name).read_bytes()
    assert (trained / "killed" / "resumed_at.txt").read_text() == "6"


def test_the_teacher_taught(trained: Path) -> None:
    """Otherwise the bytes would say nothing: it gave masks, and it is no copy of the student."""
    weights = load_file(trained / "undisturbed" / "weights.safetensors")
    name = "heads.mask_branch.project.weight"
    gap = (weights[f"student.{name}"] - weights[f"teacher.{name}"]).abs().max()
    assert 0 < gap < 0.1
    assert torch.isfinite(torch.stack([tensor.float().sum() for tensor in weights.values()])).all()
    records = json.loads((trained / "undisturbed" / "records.json").read_text())
    assert len(records["pseudo_masks.json"]) == 2 * STEPS
    history = json.loads((trained / "undisturbed" / "history.json").read_text())
    assert [row["step"] for row in history] == list(range(1, STEPS + 1))
    assert all(row["accepted_share"] > 0 for row in history)
    assert [row["pairwise_warmup"] for row in history[:5]] == [0.25, 0.5, 0.75, 1, 1]
    assert all(row["loss_mask"] > 0 and row["loss_mask_affinity"] > 0 for row in history)
