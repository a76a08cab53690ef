"""The committed pipeline: its parameters and its graph."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.params import Params
from pipeline.params_file import load_params
from pipeline.workflow.dag import Dag, read_dag
from tests.workflow.repository import copy_pipeline


@pytest.fixture(scope="session")
def params(root: Path) -> Params:
    return load_params(root / "params.yaml")


@pytest.fixture(scope="session")
def dag(root: Path) -> Dag:
    return read_dag(root)


@pytest.fixture
def repository(root: Path, tmp_path: Path) -> Path:
    return copy_pipeline(root, tmp_path)
