"""Trainings in processes of their own: killed, fed by workers, and spread over two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("tiny_training.py")
pytestmark = pytest.mark.slow


def run_script(root: Path, out: Path, scenario: str, *launcher: str) -> Path:
    """Run `tiny_training.py scenario out` on the CPU, with a launcher in front if given."""
    environment = os.environ | {"PYTHONPATH": str(root), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, str(SCRIPT), scenario, str(out)]
    done = subprocess.run(
        command, env=environment, cwd=out, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def alone(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_script(root, tmp_path_factory.mktemp("alone"), "alone")


@pytest.fixture(scope="module")
def spread(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_script(
        root,
        tmp_path_factory.mktemp("spread"),
        "processes",
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
    )


def contents(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ("weights.safetensors", "history.json")]


def test_killed_training_goes_on_to_the_same_bytes(alone: Path) -> None:
    assert contents(alone / "killed") == contents(alone / "undisturbed")
    assert not list((alone / "killed").glob(".state.pt.*"))


def test_workers_read_the_same_batches(alone: Path) -> None:
    assert contents(alone / "workers") == contents(alone / "undisturbed")


def test_repeated_stage_waits_for_an_orphan_and_takes_its_result(alone: Path) -> None:
    assert [(alone / f"{name}.txt").read_text() for name in ("orphan", "repeated")] == ["0", "24"]
    expected = (alone / "undisturbed" / "weights.safetensors").read_bytes()
    assert {(alone / f"{name}.safetensors").read_bytes() for name in ("orphan", "repeated")} == {expected}
    assert not (alone / "orphan").exists()


@pytest.mark.parametrize("folder", ["fit", "stopped"])
def test_two_processes_train_as_one(spread: Path, tmp_path: Path, tiny: ModuleType, folder: str) -> None:
    method = tiny.Regression()
    result = tiny.train(tmp_path / "single", method)
    weights = load_file(spread / folder / "weights.safetensors")
    for name, expected in method.module.state_dict().items():
        torch.testing.assert_close(weights[name], expected.cpu(), rtol=1e-4, atol=1e-5)
    history = json.loads((spread / folder / "history.json").read_text())
    np.testing.assert_allclose(
        [row["loss"] for row in history], [row["loss"] for row in result.history], rtol=1e-4
    )


def test_two_processes_share_the_batches(spread: Path, tmp_path: Path, tiny: ModuleType) -> None:
    method = tiny.Regression()
    tiny.train(tmp_path / "single", method)
    first, second = (json.loads((spread / f"seen-{index}.json").read_text()) for index in (0, 1))
    assert [one + two for one, two in zip(first, second, strict=True)] == method.seen


def test_two_processes_know_each_other(spread: Path) -> None:
    for index in (0, 1):
        assert json.loads((spread / f"mean-{index}.json").read_text()) == [[0.5, 4.0], 0.5, [0, 1], 0]


def test_a_bad_image_ends_both_processes(spread: Path) -> None:
    first, second = ((spread / f"error-{index}.txt").read_text() for index in (0, 1))
    assert first == second
    assert "104" in first
    assert first.count("on images") == 1


def test_a_batch_that_cannot_be_shared_is_refused(spread: Path) -> None:
    assert "batch_size 5 cannot be shared by 2 processes" in (spread / "odd-0.txt").read_text()


def test_a_signal_to_one_process_stops_both(spread: Path) -> None:
    assert [(spread / f"status-{index}.txt").read_text() for index in (0, 1)] == ["143", "143"]
