"""The teacher's average, its modes, and what is saved of both."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.engine.ema import growing_momentum
from pipeline.methods.box_teacher.networks import BoxTeacherNetworks


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(self.norm(self.linear(x)))


def flat(module: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def fill(module: nn.Module, values: torch.Tensor) -> None:
    with torch.no_grad():
        first = 0
        for parameter in module.parameters():
            parameter.copy_(values[first : first + parameter.numel()].view_as(parameter))
            first += parameter.numel()


def test_the_teacher_follows_as_in_the_release(load):
    arrays = load("ema_and_warmup")
    assert flat(Tiny()).shape == arrays["teacher_params_start"].shape
    networks = BoxTeacherNetworks(Tiny(), Tiny(), "batch")
    fill(networks.student, arrays["student_params_start"])
    networks.student.norm.running_mean.copy_(arrays["student_running_mean_start"])
    networks.teacher.load_state_dict(networks.student.state_dict())
    torch.testing.assert_close(flat(networks.teacher), arrays["teacher_params_after_before_train"])
    steps = arrays["step_iters"].tolist()
    for index, step in enumerate(steps):
        fill(networks.student, arrays["student_params_at_step"][index])
        networks.student.norm.running_mean.fill_(step)
        networks.update_teacher(step, 0.999)
        assert growing_momentum(step, 0.999) == pytest.approx(float(arrays["momentum_used"][index]), rel=1e-6)
        torch.testing.assert_close(
            flat(networks.teacher), arrays["teacher_params_after_step"][index], rtol=1e-6, atol=1e-7
        )
    torch.testing.assert_close(
        networks.teacher.norm.running_mean, arrays["teacher_running_mean_after_all"], rtol=1e-6, atol=0
    )


def test_frozen_parameters_are_averaged_too():
    networks = BoxTeacherNetworks(Tiny(), Tiny(), "batch")
    networks.student.linear.weight.requires_grad_(False)
    networks.update_teacher(0, 0.999)
    assert torch.equal(networks.teacher.linear.weight, networks.student.linear.weight)


@pytest.mark.parametrize("statistics", ["batch", "running"])
def test_only_the_teachers_batch_normalisations_train(statistics):
    networks = BoxTeacherNetworks(Tiny(), Tiny(), statistics)
    networks.train()
    assert networks.student.drop.training
    assert networks.student.norm.training
    assert networks.teacher.norm.training == (statistics == "batch")
    assert not networks.teacher.training
    assert not networks.teacher.drop.training
    networks.eval()
    assert not any(part.training for part in networks.modules())


def test_the_module_is_called_as_the_student():
    networks = BoxTeacherNetworks(Tiny(), Tiny(), "batch").eval()
    x = torch.randn(2, 3)
    assert torch.equal(networks(x), networks.student(x))
    assert not any(parameter.requires_grad for parameter in networks.teacher.parameters())
    assert {name.split(".")[0] for name in networks.state_dict()} == {"student", "teacher"}
