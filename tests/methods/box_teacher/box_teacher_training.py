"""Trainings of BoxTeacher, undisturbed and killed on the way, that a test watches."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import torch

from pipeline.engine.loop import fit
from pipeline.weights import save_weights
from tests.box_teacher_settings import make_method, make_views, settings
from tests.engine.tiny_training import in_child, kill_self

ROOT = Path(__file__).parents[3]
KILLED = (0, 3, 6)  # steps, from 0, after which a training is killed; the next one begins with that step


def train(folder: Path, killed_at: int = -1) -> None:
    """Train to the end, unless killed after the optimiser's step `killed_at`, which is not saved."""
    taught = settings(ROOT, train={"checkpoint_every": 1, "log_every": 1})
    method = make_method(ROOT, taught)

    def after_step(step: int) -> None:
        if step == killed_at:
            kill_self()

    method.after_step = after_step  # type: ignore[method-assign]
    views = make_views(folder, taught)
    result = fit(method, views, taught.train, seed=3, checkpoint=folder / "checkpoint", key="k", name="bt")
    save_weights(method.module, folder / "weights.safetensors")
    (folder / "history.json").write_text(json.dumps(result.history))
    (folder / "records.json").write_text(json.dumps(method.records()))
    (folder / "resumed_at.txt").write_text(str(result.resumed_at))


def main(out: Path) -> None:
    assert in_child(lambda: train(out / "undisturbed")) == 0
    for step in KILLED:
        killed = in_child(lambda step=step: train(out / "killed", step))
        assert killed == -signal.SIGKILL
    assert in_child(lambda: train(out / "killed")) == 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
