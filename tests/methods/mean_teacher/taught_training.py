"""Trainings of a student and its teacher, undisturbed and killed on the way, that a test watches."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import torch

import pipeline.models.mask2former.decoders  # noqa: F401  # once, and not in each of the fourteen children
from pipeline.engine.loop import fit
from pipeline.weights import save_weights
from tests.engine.tiny_training import in_child, kill_self
from tests.taught_settings import make_method, make_pairs, settings

ROOT = Path(__file__).parents[3]
# Steps, from 0, at which a training is killed; the next one begins with that step: the first, the last of
# the burn-in, the hand-over, the first average, and one in the middle of the distillation.
KILLED = (0, 2, 3, 4, 6)


def train(folder: Path, kind: str, killed_at: int = -1) -> None:
    """Train to the end, unless killed after the optimiser's step `killed_at`, which is not saved."""
    taught = settings(ROOT, kind, train={"checkpoint_every": 1, "log_every": 1})
    method = make_method(ROOT, taught)

    def after_step(step: int) -> None:
        if step == killed_at:
            kill_self()

    method.after_step = after_step  # type: ignore[method-assign]
    pairs = make_pairs(folder, taught)
    result = fit(method, pairs, taught.train, seed=3, checkpoint=folder / "checkpoint", key="k", name=kind)
    save_weights(method.module, folder / "weights.safetensors")
    (folder / "history.json").write_text(json.dumps(result.history))
    (folder / "resumed_at.txt").write_text(str(result.resumed_at))


def main(out: Path) -> None:
    for kind in ("mean_teacher", "guided_distillation"):
        assert in_child(lambda kind=kind: train(out / f"{kind}-undisturbed", kind)) == 0
        folder = out / f"{kind}-killed"
        for step in KILLED:
            killed = in_child(lambda kind=kind, folder=folder, step=step: train(folder, kind, step))
            assert killed == -signal.SIGKILL
        assert in_child(lambda kind=kind, folder=folder: train(folder, kind)) == 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
