from __future__ import annotations

import copy
import os
import signal
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.engine import loop
from pipeline.engine.ema import ema_momentum
from pipeline.engine.lock import discard
from pipeline.engine.loop import fit
from pipeline.engine.schedules import rate_factor
from pipeline.errors import UserError
from pipeline.structures import Sample


def weights(method: object) -> list[Tensor]:
    return [parameter.detach().cpu().clone() for parameter in method.module.parameters()]  # type: ignore[attr-defined]


def equal(one: list[Tensor], two: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_training_lowers_the_loss(tiny: ModuleType, tmp_path: Path) -> None:
    result = tiny.train(tmp_path, steps=200, learning_rate=0.03)
    assert result.history[-1]["loss"] < 0.2 * result.history[0]["loss"]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    assert (result.resumed_at, result.threads, result.device) == (0, 1, device)
    assert result.images_per_second == pytest.approx(200 * 4 / result.seconds)
    assert result.peak_memory_mib > (50 if device == "cpu" else 0)


def test_rows_are_means_since_the_last_row(tiny: ModuleType, tmp_path: Path) -> None:
    every = tiny.train(tmp_path / "every", log_every=1).history
    rows = tiny.train(tmp_path / "rows", log_every=10).history
    assert [row["step"] for row in rows] == [10, 20, 24]
    assert list(rows[0]) == ["step", "loss", "loss_square", "loss_absolute", "error", "learning_rate"]
    for row, first, last in zip(rows, (0, 10, 20), (10, 20, 24), strict=True):
        for name in ("loss", "loss_square", "error"):
            assert row[name] == pytest.approx(np.mean([item[name] for item in every[first:last]]))
        assert row["loss"] == pytest.approx(row["loss_square"] + row["loss_absolute"], rel=1e-6)
        assert row["learning_rate"] == 0.01 * rate_factor(last - 1, tiny.settings())


def test_epochs_are_turned_into_steps(tiny: ModuleType, tmp_path: Path) -> None:
    method = tiny.Regression()
    result = tiny.train(tmp_path, method, duration="epochs", steps=3, warmup_steps=1)  # of 10, by fours
    assert [row["step"] for row in result.history] == [4, 8]
    drawn = np.bincount(np.concatenate(method.seen) - 100)
    assert drawn.min() >= 3
    assert drawn.sum() == 32


def test_checkpoints_and_logs_change_nothing(tiny: ModuleType, tmp_path: Path) -> None:
    one, two = tiny.Regression(noise=0.1), tiny.Regression(noise=0.1)
    first = tiny.train(tmp_path / "one", one, checkpoint_every=1)
    second = tiny.train(tmp_path / "two", two, checkpoint_every=1000)
    assert equal(weights(one), weights(two))
    assert first.history == second.history


@pytest.mark.parametrize("schedule", ["step", "cosine", "poly"])
def test_no_steps_leave_the_start_as_it_is(tiny: ModuleType, tmp_path: Path, schedule: str) -> None:
    method = tiny.Regression()
    before = {name: value.clone() for name, value in method.module.state_dict().items()}
    result = tiny.train(tmp_path, method, steps=0, ema=0.9, schedule=schedule)
    assert result.history == []
    for name, value in method.module.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_finished_training_is_not_repeated(tiny: ModuleType, tmp_path: Path) -> None:
    one, two, three = tiny.Regression(), tiny.Regression(), tiny.Regression()
    first = tiny.train(tmp_path / "run", one, ema=0.9)
    second = tiny.train(tmp_path / "run", two, ema=0.9)
    assert two.seen == []
    assert second.resumed_at == tiny.STEPS
    assert second.history == first.history
    assert equal(weights(one), weights(two))
    discard(tmp_path / "run")
    tiny.train(tmp_path / "run", three, ema=0.9)
    assert len(three.seen) == tiny.STEPS


def test_checkpoint_of_another_key_is_not_used(tiny: ModuleType, tmp_path: Path) -> None:
    tiny.train(tmp_path, key="one")
    method = tiny.Regression()
    tiny.train(tmp_path, method, key="two")
    assert len(method.seen) == tiny.STEPS


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_stops_with_a_checkpoint(
    tiny: ModuleType, tmp_path: Path, number: signal.Signals, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    handlers = [signal.getsignal(item) for item in (signal.SIGINT, signal.SIGTERM)]
    stopped = tiny.Regression(lambda step: os.kill(os.getpid(), number) if step == 6 else None, noise=0.1)
    with pytest.raises(SystemExit) as caught:
        tiny.train(tmp_path / "run", stopped)
    assert caught.value.code == status
    assert f"stopped by {number.name} at step 8 of 24" in capsys.readouterr().err
    assert [signal.getsignal(item) for item in (signal.SIGINT, signal.SIGTERM)] == handlers
    resumed, whole = tiny.Regression(noise=0.1), tiny.Regression(noise=0.1)
    result = tiny.train(tmp_path / "run", resumed)
    assert result.resumed_at == 8
    assert result.history == tiny.train(tmp_path / "whole", whole).history
    assert equal(weights(resumed), weights(whole))


def test_signal_in_the_last_step_is_not_lost(tiny: ModuleType, tmp_path: Path) -> None:
    def stop(step: int) -> None:
        if step == tiny.STEPS - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit) as caught:
        tiny.train(tmp_path, tiny.Regression(stop))
    assert caught.value.code == 143
    assert tiny.train(tmp_path).resumed_at == tiny.STEPS


def test_second_interrupt_acts_at_once(tiny: ModuleType, tmp_path: Path) -> None:
    def interrupt(step: int) -> None:
        if step == 6:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    method = tiny.Regression(interrupt)
    with pytest.raises(KeyboardInterrupt):
        tiny.train(tmp_path, method)
    assert len(method.seen) == 7


def test_nan_is_reported_before_it_is_learnt(tiny: ModuleType, tmp_path: Path) -> None:
    method = tiny.Regression(poisoned=104)
    with pytest.raises(UserError) as caught:
        tiny.train(tmp_path, method)
    message = str(caught.value)
    images = ", ".join(map(str, method.seen[-1]))
    for part in ("tiny", f"step {len(method.seen)}:", "loss_square nan", f"images {images}"):
        assert part in message
    assert all(parameter.isfinite().all() for parameter in method.module.parameters())


def test_infinite_gradient_of_a_finite_loss_is_reported(tiny: ModuleType, tmp_path: Path) -> None:
    class Root(tiny.Regression):  # type: ignore[name-defined, misc]
        def losses(self, batch: object, step: int) -> dict[str, Tensor]:
            values: dict[str, Tensor] = super().losses(batch, step)
            return {"loss_root": (values["loss_square"] * 0).sqrt()}

    with pytest.raises(UserError, match="loss_root 0, gradient norm nan"):
        tiny.train(tmp_path, Root(), clip_norm=0.0)


def test_undefined_metrics_are_left_out(tiny: ModuleType, tmp_path: Path) -> None:
    class Sometimes(tiny.Regression):  # type: ignore[name-defined, misc]
        def losses(self, batch: object, step: int) -> dict[str, Tensor]:
            values: dict[str, Tensor] = super().losses(batch, step)
            return values | {
                "metric_odd": torch.tensor(float(step) if step % 2 else float("nan")),
                "metric_never": torch.tensor(float("nan")),
            }

    rows = tiny.train(tmp_path, Sometimes()).history
    assert [row["odd"] for row in rows] == [2, 6, 10, 14, 18, 22]  # means of 1 and 3, of 5 and 7, ...
    assert all("never" not in row for row in rows)


def test_averaged_weights_are_the_result(tiny: ModuleType, tmp_path: Path) -> None:
    method = tiny.Regression()
    expected = weights(method)

    def follow(step: int) -> None:
        momentum = ema_momentum(step, 0.8)
        for average, value in zip(expected, weights(method), strict=True):
            average.lerp_(value, 1 - momentum)

    method.hook = follow
    tiny.train(tmp_path, method, ema=0.8)
    for average, value in zip(expected, weights(method), strict=True):
        torch.testing.assert_close(value, average)


def test_gradients_are_clipped(tiny: ModuleType, tmp_path: Path) -> None:
    method = tiny.Regression()
    before = weights(method)
    tiny.train(
        tmp_path,
        method,
        steps=1,
        optimizer="sgd",
        momentum=0.0,
        weight_decay=0.0,
        learning_rate=0.5,
        schedule="constant",
        warmup_steps=0,
        clip_norm=1e-3,
    )
    change = torch.cat([(a - b).flatten() for a, b in zip(before, weights(method), strict=True)])
    assert change.norm().item() == pytest.approx(0.5e-3, rel=1e-2)


def test_batches_of_one_aspect(tiny: ModuleType, tmp_path: Path) -> None:
    method = tiny.Regression()
    tiny.train(tmp_path, method, group_by_aspect=True)
    assert {len({(image - 100) % 3 == 0 for image in batch}) for batch in method.seen} == {1}


def test_images_of_rare_classes_come_more_often(tiny: ModuleType, tmp_path: Path) -> None:
    """One of ten pictures has class 1, so a threshold of 0.9 draws it three times an epoch."""
    method = tiny.Regression()
    result = tiny.train(tmp_path, method, duration="epochs", steps=3, warmup_steps=0.5, repeat_threshold=0.9)
    assert len(method.seen) == 9  # of 4, for 3 epochs of 12
    seen = [image for batch in method.seen for image in batch]
    assert [seen.count(100 + index) for index in range(10)] == [3, 3, 3, 3, 9, 3, 3, 3, 3, 3]
    assert result.history


def test_a_resumed_training_repeats_the_same_images(tiny: ModuleType, tmp_path: Path) -> None:
    whole, first, second = (tiny.Regression(noise=0.1) for _ in range(3))
    changes = {"repeat_threshold": 0.5, "checkpoint_every": 7}
    tiny.train(tmp_path / "whole", whole, **changes)

    def stop(step: int) -> None:
        if step == 9:
            raise KeyboardInterrupt

    first.hook = stop
    with pytest.raises(KeyboardInterrupt):
        tiny.train(tmp_path / "resumed", first, **changes)
    assert tiny.train(tmp_path / "resumed", second, **changes).resumed_at == 7
    assert second.seen == whole.seen[7:]
    for mine, theirs in zip(weights(second), weights(whole), strict=True):
        assert torch.equal(mine, theirs)


def test_what_a_method_remembers_is_in_its_checkpoints(tiny: ModuleType, tmp_path: Path) -> None:
    class Remembering(tiny.Regression):  # type: ignore[name-defined, misc]
        """Adds the mean of the last step's pictures to the loss."""

        last = torch.zeros(())

        def losses(self, batch: list[Sample], step: int) -> dict[str, Tensor]:
            losses: dict[str, Tensor] = super().losses(batch, step)
            moved = losses["loss_square"] * (1 + self.last)
            self.last = torch.stack([sample.image.float().mean() for sample in batch]).mean()
            return {**losses, "loss_square": moved}

        def memory(self) -> list[Tensor]:
            return [self.last.detach()]

        def recall(self, memory: list[Tensor]) -> None:
            (self.last,) = memory

    def stop(step: int) -> None:
        if step == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    whole, first, second = Remembering(), Remembering(stop), Remembering()
    tiny.train(tmp_path / "whole", whole)
    with pytest.raises(SystemExit):
        tiny.train(tmp_path / "resumed", first)
    tiny.train(tmp_path / "resumed", second)
    assert equal(weights(second), weights(whole))


def test_everything_is_put_back(tiny: ModuleType, tmp_path: Path) -> None:
    method = tiny.Regression()
    module, threads = method.module, torch.get_num_threads()
    tiny.train(tmp_path, method, precision="bf16", threads=2)
    assert method.module is module
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert copy.deepcopy(module).cpu()(torch.zeros(1, 48)).dtype == torch.float32


def test_bf16_computes_losses_in_full_precision(tiny: ModuleType, tmp_path: Path) -> None:
    method = tiny.Regression()
    inner: list[torch.dtype] = []
    outer: list[torch.dtype] = []
    method.module[0].register_forward_hook(lambda *items: inner.append(items[-1].dtype))
    losses = method.losses

    def watch(batch: object, step: int) -> dict[str, Tensor]:
        values: dict[str, Tensor] = losses(batch, step)
        outer.append(values["loss_square"].dtype)
        return values

    method.losses = watch
    tiny.train(tmp_path, method, precision="bf16", steps=1)
    assert inner == [torch.bfloat16]
    assert outer == [torch.float32]
    assert method.module[0].weight.dtype == torch.float32


def test_mistakes_in_the_data_pass_unchanged(tiny: ModuleType, tmp_path: Path) -> None:
    class Broken(tiny.Pictures):  # type: ignore[name-defined, misc]
        def __getitem__(self, key: tuple[int, int]) -> object:
            raise UserError("images.zip", "7.png", "is cut off", "download it again")

    with pytest.raises(UserError) as caught:
        fit(tiny.Regression(), Broken(), tiny.settings(), seed=0, checkpoint=tmp_path, key="", name="tiny")
    assert (caught.value.record, caught.value.remedy) == ("7.png", "download it again")


def test_impossible_trainings_are_refused(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="no image"):
        fit(
            tiny.Regression(),
            tiny.Pictures(0),
            tiny.settings(),
            seed=0,
            checkpoint=tmp_path,
            key="",
            name="tiny",
        )
    monkeypatch.setattr(loop, "process_count", lambda: 3)
    with pytest.raises(UserError, match="batch_size 4 cannot be shared by 3 processes"):
        tiny.train(tmp_path)
