"""A training killed in the burn-in, at the hand-over or in the distillation ends in the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.taught_settings import BURN_IN, STEPS
from tests.train_apart import train_apart

SCRIPT = Path(__file__).with_name("taught_training.py")
KINDS = ("mean_teacher", "guided_distillation")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_apart(root, SCRIPT, tmp_path_factory.mktemp("taught"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["weights.safetensors", "history.json"])
def test_a_killed_training_goes_on_to_the_same_bytes(trained: Path, kind: str, name: str) -> None:
    killed, undisturbed = (trained / f"{kind}-{end}" / name for end in ("killed", "undisturbed"))
    assert killed.read_bytes() == undisturbed.read_bytes()
    assert (trained / f"{kind}-killed" / "resumed_at.txt").read_text() == "6"


@pytest.mark.parametrize("kind", KINDS)
def test_the_runs_went_through_all_phases(trained: Path, kind: str) -> None:
    """Otherwise the bytes would say nothing: the teacher learnt, and is no copy of the student."""
    weights = load_file(trained / f"{kind}-undisturbed" / "weights.safetensors")
    name = "class_predictor.weight"
    gap = (weights[f"student.{name}"] - weights[f"teacher.{name}"]).abs().max()
    assert 0 < gap < 0.1
    assert torch.isfinite(torch.stack([tensor.float().sum() for tensor in weights.values()])).all()
    history = json.loads((trained / f"{kind}-undisturbed" / "history.json").read_text())
    taught = [row["step"] for row in history if "loss_ce_unlabelled" in row]
    assert taught == list(range((BURN_IN if kind == "mean_teacher" else 0) + 1, STEPS + 1))
