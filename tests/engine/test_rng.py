from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch

from pipeline.engine.rng import restore_rng, rng_state, seed_everything

CPU = torch.device("cpu")


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.normal()), float(torch.rand(()))  # noqa: NPY002


def test_a_saved_state_gives_the_same_numbers(tmp_path: Path) -> None:
    seed_everything(1)
    draw()
    torch.save(rng_state(CPU), tmp_path / "state.pt")
    expected = [draw() for _ in range(3)]
    seed_everything(2)
    restore_rng(torch.load(tmp_path / "state.pt", weights_only=True), CPU)
    assert [draw() for _ in range(3)] == expected


def test_seeds_differ() -> None:
    seed_everything(1)
    one = draw()
    seed_everything(2)
    two = draw()
    seed_everything(1)
    assert draw() == one
    assert all(a != b for a, b in zip(one, two, strict=True))
