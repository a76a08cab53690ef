"""A method and a dataset that train in milliseconds, and trainings that a test watches from outside."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision.tv_tensors import Image

from pipeline import params
from pipeline.distributed import first_object, gather_objects, mean_over_processes, process_index
from pipeline.engine.lock import discard
from pipeline.engine.loop import FitResult, fit
from pipeline.errors import UserError
from pipeline.structures import Sample, Target, boxes_xyxy
from pipeline.weights import save_weights

STEPS = 24


class Pictures(Dataset[Sample]):
    """Random pictures of 4 x 4 pixels that depend on index and draw; image ids start at 100.

    Only picture 4 has an object of class 1.
    """

    def __init__(self, length: int = 10) -> None:
        self.length = length
        self.aspect_ratios = np.where(np.arange(length) % 3 == 0, 0.5, 1.5)
        self.classes = [np.array([0, 1] if index == 4 else [0, 0]) for index in range(length)]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        index, draw = key
        values = np.random.default_rng((index, draw)).integers(0, 256, (3, 4, 4), dtype=np.uint8)
        target = Target(boxes_xyxy(torch.zeros(0, 4), (4, 4)), torch.zeros(0, dtype=torch.int64))
        return Sample(Image(torch.from_numpy(values)), target, 100 + index, (4, 4))


class Regression:
    """Learns the mean brightness.  `hook(step)` runs after each step; image `poisoned` has loss NaN."""

    def __init__(
        self,
        hook: Callable[[int], None] | None = None,
        poisoned: int = -1,
        noise: float = 0.0,
        norm: Callable[[], nn.Module] = lambda: nn.GroupNorm(2, 8),
    ) -> None:
        torch.manual_seed(0)
        self.module: nn.Module = nn.Sequential(nn.Linear(48, 8), norm(), nn.ReLU(), nn.Linear(8, 1))
        self.hook, self.poisoned, self.noise = hook, poisoned, noise
        self.seen: list[list[int]] = []

    def losses(self, batch: list[Sample], step: int) -> dict[str, Tensor]:
        self.seen.append([sample.image_id for sample in batch])
        inputs = torch.stack([sample.image.as_subclass(Tensor).flatten() / 255 for sample in batch])
        inputs = inputs + self.noise * torch.randn_like(inputs)  # draws from the global generator
        errors = self.module(inputs)[:, 0] - inputs.mean(1)
        if self.poisoned in self.seen[-1]:
            errors = errors * float("nan")
        return {
            "loss_square": (errors**2).mean(),
            "loss_absolute": 0.1 * errors.abs().mean(),
            "metric_error": errors.detach().abs().max(),
        }

    def after_step(self, step: int) -> None:
        if self.hook is not None:
            self.hook(step)


def settings(**changes: Any) -> params.Training:
    """A training of 24 steps of 4 images; keywords replace its keys."""
    values = {
        "duration": "steps",
        "steps": STEPS,
        "batch_size": 4,
        "optimizer": "adamw",
        "learning_rate": 0.01,
        "backbone_rate": 1.0,
        "momentum": 0.9,
        "betas": (0.9, 0.999),
        "weight_decay": 0.01,
        "norm_weight_decay": 0.0,
        "schedule": "cosine",
        "milestones": (),
        "poly_power": 0.9,
        "final_rate": 0.0,
        "warmup_steps": 3,
        "warmup_start": 0.001,
        "clip_norm": 1.0,
        "ema": 0.0,
        "group_by_aspect": False,
        "repeat_threshold": 0.0,
        "precision": "fp32",
        "workers": 0,
        "threads": 1,
        "checkpoint_every": 5,
        "log_every": 4,
    }
    return params.Training.model_validate(values | changes)


def train(folder: Path, method: Regression | None = None, key: str = "key", **changes: Any) -> FitResult:
    """Fit a (new) method with its checkpoints in `folder`."""
    return fit(
        method or Regression(noise=0.1),
        Pictures(),
        settings(**changes),
        seed=3,
        checkpoint=folder,
        key=key,
        name="tiny",
    )


def save(folder: Path, method: Regression, result: FitResult) -> None:
    """What a run leaves behind: weights and curve."""
    save_weights(method.module, folder / "weights.safetensors")
    (folder / "history.json").write_text(json.dumps(result.history))


# --- trainings in processes of their own --------------------------------------------------------------


def in_child(action: Callable[[], None]) -> int:
    """Run `action` in a fork of this process; returns minus the signal that killed it, or its status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            action()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed_at(step: int) -> Regression:
    return Regression(lambda done: kill_self() if done == step else None, noise=0.1)


def killed_while_saving(folder: Path) -> None:
    """Train until a checkpoint is half written."""
    whole = torch.save

    def half(state: Any, path: Path) -> None:
        whole(state, path)
        os.truncate(path, path.stat().st_size // 2)
        kill_self()

    torch.save = half
    train(folder, ema=0.9)


def orphan_and_repeated_stage(folder: Path) -> None:
    """A trainer without a parent, and the same stage once more while it runs: the second one waits."""

    def stage(output: str, hook: Callable[[int], None] | None) -> None:
        method = Regression(hook, noise=0.1)
        result = train(folder, method, ema=0.9)
        time.sleep(0.3)  # writing outputs
        save_weights(method.module, folder.with_name(f"{output}.safetensors"))
        folder.with_name(f"{output}.txt").write_text(str(result.resumed_at))
        discard(folder)

    orphan = threading.Thread(target=in_child, args=[lambda: stage("orphan", lambda _: time.sleep(0.05))])
    orphan.start()
    while not (folder / "state.pt").exists():
        time.sleep(0.02)
    assert in_child(lambda: stage("repeated", None)) == 0
    orphan.join()


def alone_scenario(out: Path) -> None:
    """The same training undisturbed, killed six times on its way, and with images read by others."""

    def finish(folder: Path, **changes: Any) -> None:
        method = Regression(noise=0.1)
        save(folder, method, train(folder, method, ema=0.9, **changes))

    assert in_child(lambda: finish(out / "undisturbed")) == 0
    folder = out / "killed"
    for step in (2, 7, 9, 16):
        assert in_child(lambda step=step: train(folder, killed_at(step), ema=0.9)) == -signal.SIGKILL
    assert in_child(lambda: killed_while_saving(folder)) == -signal.SIGKILL
    assert list(folder.glob(".state.pt.*")), "the half-written file should be there"
    assert in_child(lambda: train(folder, killed_at(STEPS - 1), ema=0.9)) == -signal.SIGKILL
    assert in_child(lambda: finish(folder)) == 0
    finish(out / "workers", workers=1)
    orphan_and_repeated_stage(out / "orphan")


def processes_scenario(out: Path) -> None:
    """Under torchrun: a training, one with a bad image, and one that a signal to process 1 stops."""
    method = Regression()
    result = train(out / "fit", method)
    mean = mean_over_processes(torch.tensor([process_index(), 4]))
    (out / f"mean-{process_index()}.json").write_text(
        json.dumps(
            [
                mean.tolist(),
                mean_over_processes(torch.tensor(float(process_index()))).item(),
                gather_objects(process_index()),
                first_object(process_index()),
            ]
        )
    )
    if process_index() == 0:
        save(out / "fit", method, result)
    (out / f"seen-{process_index()}.json").write_text(json.dumps(method.seen))
    try:
        train(out / "bad", Regression(poisoned=104))
    except UserError as error:
        (out / f"error-{process_index()}.txt").write_text(str(error))

    try:
        train(out / "odd", batch_size=5)
    except UserError as error:
        (out / f"odd-{process_index()}.txt").write_text(str(error))

    def stop(step: int) -> None:
        if process_index() == 1 and step == 8:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        train(out / "stopped", Regression(stop))
    except SystemExit as leaving:
        (out / f"status-{process_index()}.txt").write_text(str(leaving.code))
    resumed = Regression()
    result = train(out / "stopped", resumed)
    assert result.resumed_at == 10  # the step that notices the signal is the next one
    if process_index() == 0:
        save(out / "stopped", resumed, result)


if __name__ == "__main__":
    torch.set_num_threads(1)
    globals()[f"{sys.argv[1]}_scenario"](Path(sys.argv[2]))
