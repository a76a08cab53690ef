"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """One thread: results do not depend on the machine, and parallel test workers do not fight."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def vectors() -> Path:
    """Parity vectors that every clone has."""
    return ROOT / "tests" / "vectors"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The reference material beside the repository; tests that need it skip without it."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the reference material in ../shared, which is not here")
    return folder
