from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.engine.ema import AveragedWeights, ema_momentum, follow, growing_momentum
from tests.mal_vectors import arrays


def test_momentum_grows_to_its_limit() -> None:
    assert [ema_momentum(step, 0.5) for step in (0, 2, 8, 1000)] == pytest.approx([0.1, 0.25, 0.5, 0.5])


def test_parameters_are_averaged_and_buffers_copied() -> None:
    module = nn.BatchNorm1d(1)
    average = AveragedWeights(module, 0.9)
    nn.init.constant_(module.weight, 11.0)
    module.running_mean.fill_(5.0)
    module.num_batches_tracked.fill_(7)
    average.update(module, 0)
    average.update(module, 1)
    expected = 0.1 * 1.0 + 0.9 * 11.0
    expected = 2 / 11 * expected + 9 / 11 * 11.0
    assert average.module.weight.item() == pytest.approx(expected, rel=1e-6)
    assert average.module.running_mean.item() == 5.0
    assert average.module.num_batches_tracked.item() == 7
    assert module.weight.item() == 11.0


def test_the_average_is_a_frozen_copy() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).train()
    average = AveragedWeights(module, 0.9)
    assert not average.module.training
    assert not any(parameter.requires_grad for parameter in average.module.parameters())
    with torch.no_grad():
        module[0].weight.zero_()
    assert average.module[0].weight.abs().sum() > 0


def published_module(published: dict[str, np.ndarray], prefix: str) -> nn.Module:
    module = nn.ModuleDict({"l": nn.Linear(5, 3), "bn": nn.BatchNorm1d(3)})
    state = {
        name.removeprefix(prefix): torch.from_numpy(value)
        for name, value in published.items()
        if name.startswith(prefix)
    }
    module.load_state_dict(state, strict=False)  # the vectors have no num_batches_tracked
    return module


def test_a_teacher_follows_as_published_and_keeps_its_buffers() -> None:
    published = arrays("ema_update")
    student, teacher = published_module(published, "student."), published_module(published, "teacher.")
    student.bn.num_batches_tracked.fill_(7)
    for updates in (1, 2, 3):
        follow(teacher, student, float(published["momentum"]))
        if updates != 2:
            for name, value in published_module(published, f"after{updates}.").state_dict().items():
                torch.testing.assert_close(teacher.state_dict()[name], value, rtol=1e-6, atol=1e-6)


def test_a_growing_momentum_gives_a_copy_then_a_mean() -> None:
    assert [growing_momentum(step, 0.75) for step in range(6)] == pytest.approx(
        [0, 1 / 2, 2 / 3, 3 / 4, 3 / 4, 3 / 4]
    )
