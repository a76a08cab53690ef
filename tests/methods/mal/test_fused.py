"""The GPU's kernel on a CPU: run by Triton's interpreter, in a process of its own, and compiled."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="needs Triton, which comes with PyTorch on Linux"
)

INTERPRETED = """
import sys
import numpy as np
import torch
from pipeline.methods.mal import mean_field
from pipeline.methods.mal.fused import iterate
from pipeline.params import MeanField

def check(name, zeta, iterations, kernel):
    path = f"{sys.argv[1]}/mal/meanfield_{name}.npz"
    arrays = {key: torch.from_numpy(np.asarray(value)) for key, value in np.load(path).items()}
    settings = MeanField(kernel=kernel, zeta=zeta, iterations=iterations, clamp=(0.1, 0.9))
    data = (arrays["image"], arrays["prob"], arrays.get("box"), settings)
    usual = mean_field._iterate
    expected = mean_field.log_odds(*data)
    mean_field._iterate = lambda *arguments: iterate(*arguments) or []  # nothing remains to be done
    odds = mean_field.log_odds(*data)
    mean_field._iterate = usual
    torch.testing.assert_close(odds, expected, rtol=0, atol=2e-5)
    return torch.equal(odds > 0, arrays["refined"] > 0)

assert check("kernel5", 0.3, 10, 5)
check("edges", 0.1, 5, 3)
check("no_box", 0.1, 4, 3)
"""

COMPILED = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from pipeline.methods.mal import fused

pointers = dict.fromkeys(("source", "target", "unary", "weights"), "*fp32")
numbers = dict.fromkeys(("low", "high", "log2_epsilon", "bits", "linear_from"), "fp32")
signature = pointers | {"table": "*i32", "count": "i32"} | numbers
order = {name: signature.get(name, "constexpr") for name in fused._step.arg_names}
source = ASTSource(fused._step, order, {"BLOCK": fused.BLOCK, "PAIRS": 4})
assert "ex2.approx" in compile(source, target=GPUTarget("cuda", 80, 32)).asm["ptx"]
"""


def test_equals_the_usual_iteration(root, vectors):
    """To rounding, and in the masks exactly; windows of 3 and 5, with and without boxes."""
    run(INTERPRETED, root, str(vectors), TRITON_INTERPRET="1")


def test_compiles_for_a_gpu(root, tmp_path):
    """The interpreter accepts more than the compiler does."""
    run(COMPILED, root, TRITON_INTERPRET="0", TRITON_CACHE_DIR=str(tmp_path))


def run(code, root, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": str(root)} | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
