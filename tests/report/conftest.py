"""Lets the report's tests import the fixture data that lies beside them, and makes a benchmark of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline.layout import Layout
from pipeline.params import Params
from tests.report.benchmark_files import make_benchmark, make_params

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def params(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Params:
    return make_params(root, tmp_path_factory.mktemp("params"))


@pytest.fixture
def layout(tmp_path: Path, params: Params) -> Layout:
    """The benchmark of `params`, with masks."""
    layout = Layout(tmp_path, params.benchmark)
    make_benchmark(layout, params, masks=True)
    return layout
