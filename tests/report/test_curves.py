"""Learning curves as files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.report.curves import read_curve, write_curve

HISTORY = {
    1: [{"step": 20, "loss": 2.0, "pairwise": 0.5, "learning_rate": 1e-3}],
    0: [{"step": 20, "loss": 1.25, "learning_rate": 1e-3}, {"step": 40, "loss": math.nan, "box": 1 / 3}],
}


def test_columns_start_with_seed_step_loss(tmp_path: Path) -> None:
    write_curve(tmp_path / "run.csv", HISTORY)
    lines = (tmp_path / "run.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "seed,step,loss,box,learning_rate,pairwise"
    assert lines[1:] == ["0,20,1.25,,0.001,", "0,40,,0.3333333,,", "1,20,2,,0.001,0.5"]


def test_read_returns_what_was_written(tmp_path: Path) -> None:
    write_curve(tmp_path / "run.csv", HISTORY)
    first, second = read_curve(tmp_path / "run.csv")
    assert (first.seed, second.seed) == (0, 1)
    np.testing.assert_array_equal(first.steps, [20, 40])
    np.testing.assert_array_equal(first.values["loss"], [1.25, math.nan])
    np.testing.assert_array_equal(second.values["pairwise"], [0.5])


def test_a_run_that_was_not_trained_has_no_curve(tmp_path: Path) -> None:
    write_curve(tmp_path / "run.csv", {0: []})
    assert read_curve(tmp_path / "run.csv") == ()


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "seed,step,loss\n0,x,1\n"])
def test_another_table_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.csv").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="is not a learning curve"):
        read_curve(tmp_path / "run.csv")
