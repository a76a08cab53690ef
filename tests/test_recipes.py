"""The script in docs/recipes.md that converts pickled weights."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from pipeline.state_dicts import read_state


def convert(root: Path, folder: Path, content: object) -> subprocess.CompletedProcess[str]:
    """Run the script of the page, as a reader would, on a pickle of `content`."""
    page = (root / "docs" / "recipes.md").read_text(encoding="utf-8")
    script = page.split("```python\n# convert.py", 1)[1].split("```", 1)[0]
    (folder / "convert.py").write_text(f"#{script}", encoding="utf-8")
    (folder / "model.pkl").write_bytes(pickle.dumps(content, protocol=4))
    command = [sys.executable, "convert.py", "model.pkl", "model.pth"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


class Attack:
    """What makes a reader of pickles write a file."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, ("attacked", "w")


def test_arrays_become_a_state_dict_that_is_read(root: Path, tmp_path: Path) -> None:
    arrays = {"backbone.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "count": np.array(7)}
    done = convert(root, tmp_path, {"model": arrays, "__author__": "somebody", "scale": np.float32(0.5)})
    assert done.returncode == 0, done.stderr
    state = read_state(tmp_path / "model.pth")
    assert {name: tensor.tolist() for name, tensor in state.items()} == {
        name: array.tolist() for name, array in arrays.items()
    }
    assert state["backbone.weight"].dtype == torch.float32


def test_code_in_a_pickle_is_refused_before_it_runs(root: Path, tmp_path: Path) -> None:
    done = convert(root, tmp_path, {"model": {"weight": Attack()}})
    assert done.returncode != 0
    assert done.stderr.strip() == "model.pkl asks for io.open, which no array needs: not converted"
    assert not (tmp_path / "attacked").exists()
    assert not (tmp_path / "model.pth").exists()
