"""Trainings of SPML, undisturbed, killed and spread over processes, that a test watches."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import torch

from pipeline import params
from pipeline.distributed import first_object, is_main
from pipeline.engine.devices import pick_device
from pipeline.engine.loop import FitResult, fit
from pipeline.methods.semantic.build import build_semantic
from pipeline.methods.spml.method import Spml
from pipeline.weights import save_weights
from tests import semantic_settings
from tests.engine.tiny_training import in_child, kill_self
from tests.semantic_settings import CLASSES, pixel_embedding

KILLED = 5  # the step, from 0, after whose update the training is killed; it had saved the one before


def train(folder: Path, settings: params.Spml, killed_at: int = -1) -> tuple[Spml, FitResult]:
    torch.manual_seed(0)
    method = build_semantic(settings, pixel_embedding(), CLASSES)
    assert isinstance(method, Spml)

    def after_step(step: int) -> None:
        if step == killed_at:
            kill_self()

    method.after_step = after_step  # type: ignore[method-assign]
    dataset = semantic_settings.images(folder.parent / "scenes")
    result = fit(method, dataset, settings.train, seed=3, checkpoint=folder / "run", key="k", name="spml")
    return method, result


def save(folder: Path, killed_at: int = -1) -> None:
    settings = semantic_settings.spml({"checkpoint_every": 1, "log_every": 1})
    method, result = train(folder, settings, killed_at)
    save_weights(method.module, folder / "weights.safetensors")
    (folder / "history.json").write_text(json.dumps(result.history))
    (folder / "resumed_at.txt").write_text(str(result.resumed_at))


def histories(out: Path) -> None:
    """Of both variants, without dropout, whose draws differ between processes."""
    train_changes = {"log_every": 1, "steps": 4}
    variants = {
        "spml": semantic_settings.spml(train_changes, dropout=0.0),
        "densepose": semantic_settings.densepose(train=train_changes),
    }
    for kind, settings in variants.items():
        _, result = train(out / kind, settings)
        if is_main():
            (out / f"{kind}.json").write_text(json.dumps(result.history))


def main(scenario: str, out: Path) -> None:
    if scenario == "processes":
        pick_device()
        if is_main():
            semantic_settings.write_scenes(out / "scenes")
        first_object(None)
        histories(out)
        return
    semantic_settings.write_scenes(out / "scenes")
    assert in_child(lambda: save(out / "undisturbed")) == 0
    assert in_child(lambda: save(out / "killed", KILLED)) == -signal.SIGKILL
    assert in_child(lambda: save(out / "killed")) == 0
    histories(out)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], Path(sys.argv[2]))
