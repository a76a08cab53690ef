"""Two processes train a student and its teacher as one does, through burn-in, hand-over and distillation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.taught_settings import BURN_IN, STEPS
from tests.train_apart import TWO_PROCESSES, train_apart

SCRIPT = Path(__file__).with_name("taught_processes.py")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What one process left behind, and what two did."""
    return [
        train_apart(root, SCRIPT, tmp_path_factory.mktemp("processes"), *launcher)
        for launcher in ((), TWO_PROCESSES)
    ]


@pytest.mark.parametrize("kind", ["mean_teacher", "guided_distillation"])
def test_two_processes_teach_as_one(trained: list[Path], kind: str) -> None:
    one, two = (json.loads((folder / f"{kind}.json").read_text()) for folder in trained)
    assert len(one) == len(two) == STEPS
    for row, other in zip(one, two, strict=True):
        # Rounding grows from step to step; another mean or another teacher would change much more.
        assert row == pytest.approx(other, rel=1e-3, abs=1e-5)
    first = 0 if kind == "guided_distillation" else BURN_IN
    assert ["loss_ce_unlabelled" in row for row in two] == [step >= first for step in range(STEPS)]


@pytest.mark.parametrize("kind", ["mean_teacher", "guided_distillation"])
def test_two_processes_end_in_the_weights_of_one(trained: list[Path], kind: str) -> None:
    one, two = (load_file(folder / f"{kind}.safetensors") for folder in trained)
    assert one.keys() == two.keys()
    for name, expected in one.items():
        torch.testing.assert_close(two[name], expected, rtol=1e-3, atol=1e-4)
    heads = [two[f"{network}.class_predictor.weight"] for network in ("student", "teacher")]
    assert not torch.equal(*heads)
