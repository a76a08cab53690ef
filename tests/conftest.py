"""Fixtures shared by all tests."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

ROOT = Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones first, so that two workers end at about the same time."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session", autouse=True)
def _usual_signals() -> None:
    """A test run in the background starts with SIGINT ignored, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """One thread: results do not depend on the machine, and parallel test workers do not fight."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="module")
def python_on_path() -> Iterator[None]:
    """Stages call `python`: make that the interpreter of the tests, and stages single-threaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


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


Close = Callable[..., None]
Load = Callable[..., dict[str, Tensor]]


@pytest.fixture(scope="session")
def load(vectors: Path) -> Load:
    """Arrays of one of BoxInst's vector files as tensors, or those of one of its cases."""
    return _reader(vectors / "boxinst")


@pytest.fixture(scope="session")
def load_box_teacher(vectors: Path) -> Load:
    """Arrays of one of BoxTeacher's vector files as tensors, or those of one of its cases."""
    return _reader(vectors / "boxteacher")


@pytest.fixture(scope="session")
def load_mal(vectors: Path) -> Load:
    """Arrays of one of MAL's vector files as tensors."""
    return _reader(vectors / "mal")


def _reader(folder: Path) -> Load:
    def read(name: str, case: str = "") -> dict[str, Tensor]:
        start = f"{case}." if case else ""
        with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:
            return {
                key.removeprefix(start): torch.from_numpy(np.asarray(arrays[key]))
                for key in arrays.files
                if key.startswith(start)
            }

    return read


@pytest.fixture(scope="session")
def close() -> Close:
    """|a - b| <= rtol |b| + share * max|b| + 1e-9: the vectors' rule; 1e-4 and 2e-6 hold for outputs."""

    def check(actual: Tensor, expected: Tensor, rtol: float = 1e-4, share: float = 2e-6) -> None:
        largest = float(expected.abs().max()) if expected.numel() else 0.0
        torch.testing.assert_close(
            actual, expected, rtol=rtol, atol=share * largest + 1e-9, check_dtype=False
        )

    return check
