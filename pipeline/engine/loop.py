"""The one training loop."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sized
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Any, Generic, NoReturn, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from pipeline.distributed import (
    first_object,
    gather_objects,
    is_main,
    mean_over_processes,
    process_count,
    process_index,
)
from pipeline.engine.checkpoint import check_disk, load_checkpoint, save_checkpoint
from pipeline.engine.devices import (
    device_title,
    make_accelerator,
    peak_memory_mib,
    prepared,
    reproducible,
)
from pipeline.engine.ema import AveragedWeights
from pipeline.engine.interrupts import StopRequest, stop_requests
from pipeline.engine.loader import load_batches
from pipeline.engine.lock import only_process
from pipeline.engine.log import History, LiveLog, Row
from pipeline.engine.optimizer import make_optimizer, scale_rates
from pipeline.engine.progress import Progress
from pipeline.engine.protocol import ItemT, Trainable
from pipeline.engine.rng import restore_rng, rng_state, seed_everything
from pipeline.engine.sampler import StepSampler, repeat_factors
from pipeline.engine.schedules import in_steps, rate_factor
from pipeline.errors import UserError
from pipeline.params import Training

_METRIC = "metric_"
_NORM = "gradient norm"
_STOP = "stop signal"


@dataclass(frozen=True)
class FitResult:
    """What a training leaves behind, beside the weights in `method.module`.

    history: the learning curve, without timings; seconds and images_per_second: of the whole training;
    resumed_at: the step this process went on from, 0 = from the start.
    """

    history: list[Row]
    seconds: float
    images_per_second: float
    peak_memory_mib: int
    device: str
    threads: int
    resumed_at: int


def fit(
    method: Trainable[ItemT],
    dataset: Dataset[ItemT],
    training: Training,
    *,
    seed: int,
    checkpoint: Path,
    key: str,
    name: str,
) -> FitResult:
    """Train `method.module` in place; with averaged weights, they are what it holds in the end.

    dataset: has `__len__` and `__getitem__((index, draw))`, `aspect_ratios` (w / h) if the training groups
    by them, `classes` (those of each image's objects) if it repeats images of rare ones, and an
    `announcement` if there is something to say of the samples at the start; checkpoint: a folder for this
    run alone, from which a killed training with the same `key` (a hash of all that matters) goes on to the
    same result; name: of the run, for messages.
    Call `discard(checkpoint)` once the run's outputs are written.

    Raises UserError for a batch that cannot be shared out, a full disk and a loss that is not finite,
    SystemExit (128 + signal) after SIGINT or SIGTERM, with a checkpoint of the last step.
    """
    accelerator = make_accelerator(training.precision)  # also joins the other processes
    if training.batch_size % process_count():
        raise UserError(
            "params.yaml",
            name,
            f"batch_size {training.batch_size} cannot be shared by {process_count()} processes",
            "choose a multiple of the number of processes",
        )
    length = len(cast(Sized, dataset))
    if not length:
        raise UserError("", name, "there is no image to train on", "check the run's label file")
    repeats = _repeats(dataset, training)
    training = in_steps(training, length if repeats is None else math.ceil(repeats.sum()))
    with only_process(checkpoint, name, "training this run"), reproducible(training.threads):
        if is_main():
            if announcement := getattr(dataset, "announcement", ""):
                print(f"{name}: {announcement}", file=sys.stderr)
            check_disk(checkpoint, method.module, training)
        seed_everything(seed + process_index())
        module = method.module.train().to(accelerator.device)
        trainer = _Trainer(method, module, training, accelerator.device, checkpoint, key, name)
        with prepared(accelerator, module) as wrapped, stop_requests() as stop:
            method.module = wrapped
            try:
                trainer.run(dataset, seed, stop, repeats)
            finally:
                method.module = module
    if trainer.average is not None:
        module.load_state_dict(trainer.average.module.state_dict())
    return trainer.result()


class _Trainer(Generic[ItemT]):
    """The state of one training and what happens at each step."""

    def __init__(
        self,
        method: Trainable[ItemT],
        module: nn.Module,
        training: Training,
        device: torch.device,
        folder: Path,
        key: str,
        name: str,
    ) -> None:
        self.method, self.module, self.training, self.device = method, module, training, device
        self.folder, self.key, self.name = folder, key, name
        self.average = AveragedWeights(module, training.ema) if training.ema else None
        self.optimizer = make_optimizer(module, training)
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self.history = History()
        self.step = self.resumed_at = 0  # steps done
        self.seconds = 0.0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self._resume()

    def run(
        self,
        dataset: Dataset[ItemT],
        seed: int,
        stop: StopRequest,
        repeats: NDArray[np.float64] | None,
    ) -> None:
        """Do the steps that are left; repeats: as for the sampler."""
        training, length = self.training, len(cast(Sized, dataset))
        wide = np.asarray(cast(Any, dataset).aspect_ratios) >= 1 if training.group_by_aspect else None
        sampler = StepSampler(
            length,
            training.batch_size,
            seed,
            self.step,
            training.steps,
            wide,
            process_index(),
            process_count(),
            repeats,
        )
        live = LiveLog(self.folder / "live", self.history.rows) if is_main() and len(sampler) else None
        start = time.monotonic() - self.seconds
        with Progress(self.name, training.steps, "steps", self.step, is_main()) as progress:
            for batch in load_batches(dataset, sampler, training.workers):
                means = self._train(batch, stop.signal)
                self.seconds = time.monotonic() - start
                speed = progress.rate * training.batch_size
                progress.advance(f"loss {means['loss']:.4g}, {speed:.1f} images/s")
                stopped = bool(means.pop(_STOP))
                self._record(means, live, stopped)
                if stopped:
                    break
        if live is not None:
            live.close()
        number = max(gather_objects(stop.signal))
        if number:
            self._exit(number)

    def result(self) -> FitResult:
        """The training's figures so far."""
        rate = self.step * self.training.batch_size / max(self.seconds, 1e-9)
        return FitResult(
            self.history.rows,
            self.seconds,
            rate,
            peak_memory_mib(self.device),
            device_title(self.device),
            self.training.threads,
            self.resumed_at,
        )

    def _train(self, batch: list[ItemT], signal: int) -> dict[str, float]:
        """One step of the optimiser; returns means over all processes, of a stop signal too."""
        if self.device.type != "cpu":
            batch = [sample.to(self.device) for sample in batch]
        scale_rates(self.optimizer, rate_factor(self.step, self.training))
        losses = self.method.losses(batch, self.step)
        total = torch.stack([loss for name, loss in losses.items() if not _is_metric(name)]).sum()
        self.optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        values = {"loss": total, **losses, _NORM: self._clip(), _STOP: torch.tensor(signal)}
        means = self._means(values, batch)
        self.optimizer.step()
        self.method.after_step(self.step)
        if self.average is not None:
            self.average.update(self.module, self.step)
        self.step += 1
        del means[_NORM]
        return means

    def _clip(self) -> Tensor:
        """Scale the gradients down to clip_norm, if any; returns their norm before that."""
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if self.training.clip_norm:
            nn.utils.clip_grads_with_norm_(self.parameters, self.training.clip_norm, norm)
        return norm

    def _means(self, values: dict[str, Tensor], batch: list[ItemT]) -> dict[str, float]:
        """Means over all processes.  Raises UserError in every process if any loss is not finite."""
        # One transfer from the device per step, whatever the number of losses.
        local = torch.stack([value.detach().to(self.device, torch.float32) for value in values.values()])
        means = dict(zip(values, mean_over_processes(local).tolist(), strict=True))
        if not all(math.isfinite(mean) for name, mean in means.items() if not _is_metric(name)):
            self._refuse(dict(zip(values, local.tolist(), strict=True)), batch)
        return means

    def _refuse(self, values: dict[str, float], batch: list[ItemT]) -> NoReturn:
        """End the training because of a loss or a gradient that is not finite."""
        shown = [
            f"{name} {value:.4g}"
            for name, value in values.items()
            if name not in ("loss", _STOP) and not _is_metric(name)
        ]
        images = [str(getattr(sample, "origin", sample.image_id)) for sample in batch]
        line = f"{', '.join(shown)} on images {', '.join(images)}"
        # The gradient is shared; a loss tells which process's images it came from.
        parts = gather_objects((math.isfinite(values["loss"]), line))
        guilty = [line for finite, line in parts if not finite] or [line for _, line in parts]
        raise UserError(
            self.name,
            f"step {self.step + 1}",
            f"the loss or its gradient is not finite: {'; '.join(guilty)}",
            "check these images and their labels, lower learning_rate or set clip_norm",
        )

    def _record(self, means: dict[str, float], live: LiveLog | None, stopped: bool) -> None:
        """Log and save what is due after a step."""
        training, last = self.training, self.step == self.training.steps
        self.history.add({name.removeprefix(_METRIC): mean for name, mean in means.items()})
        if self.step % training.log_every == 0 or last:
            rate = training.learning_rate * rate_factor(self.step - 1, training)
            row = self.history.close_row(self.step, rate)
            if live is not None:
                live.add(row)
        if self.step % training.checkpoint_every == 0 or last or stopped:
            self._save()

    def _save(self) -> None:
        generators = gather_objects(rng_state(self.device))
        if is_main():
            average = None if self.average is None else self.average.module.state_dict()
            save_checkpoint(
                self.folder,
                self.key,
                {
                    "step": self.step,
                    "seconds": self.seconds,
                    "history": self.history.state(),
                    "generators": generators,
                    "model": self.module.state_dict(),
                    "average": average,
                    "optimizer": self.optimizer.state_dict(),
                },
            )

    def _resume(self) -> None:
        state = first_object(load_checkpoint(self.folder, self.key) if is_main() else None)
        if state is None:
            return
        self.step = self.resumed_at = state["step"]
        self.seconds = state["seconds"]
        self.history.restore(state["history"])
        self.module.load_state_dict(state["model"])
        if self.average is not None:
            self.average.module.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        if process_index() < len(state["generators"]):
            restore_rng(state["generators"][process_index()], self.device)
        if is_main():
            print(f"{self.name}: goes on from step {self.step} of {self.training.steps}", file=sys.stderr)

    def _exit(self, number: int) -> NoReturn:
        """Leave as a process does that a signal ended, the last step being saved."""
        if is_main():
            print(
                f"{self.name}: stopped by {Signals(number).name} at step {self.step} of"
                f" {self.training.steps}; the same command goes on from there",
                file=sys.stderr,
                flush=True,
            )
        raise SystemExit(128 + number)


def _repeats(dataset: Dataset[Any], training: Training) -> NDArray[np.float64] | None:
    """How often an epoch draws each image; None: once."""
    if not training.repeat_threshold:
        return None
    return repeat_factors(cast(Any, dataset).classes, training.repeat_threshold)


def _is_metric(name: str) -> bool:
    return name.startswith(_METRIC)
