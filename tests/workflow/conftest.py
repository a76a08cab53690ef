"""The committed pipeline: its parameters and its graph."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.params import Params
from pipeline.params_file import load_params
from pipeline.workflow.dag import Dag, read_dag


@pytest.fixture(scope="session")
def params(root: Path) -> Params:
    return load_params(root / "params.yaml")


@pytest.fixture(scope="session")
def dag(root: Path) -> Dag:
    return read_dag(root)
