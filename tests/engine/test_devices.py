from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from pipeline.engine import devices


@dataclass
class Outputs:
    maps: list[Tensor]
    count: int


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, inputs: Tensor) -> Outputs:
        return Outputs([self.layer(inputs)], 5)


@pytest.mark.parametrize(("precision", "changed"), [("bf16", True), ("fp32", False)])
def test_half_precision_inside_and_full_outside(precision: str, changed: bool) -> None:
    torch.manual_seed(0)
    device = devices.pick_device()
    module, inputs = Network().to(device), torch.rand(4, 3, device=device)
    expected = module(inputs).maps[0]
    with devices.prepared(devices.make_accelerator(precision), module) as wrapped:  # type: ignore[arg-type]
        outputs = wrapped(inputs)
    assert isinstance(outputs, Outputs)
    assert outputs.count == 5
    assert outputs.maps[0].dtype == torch.float32
    assert (outputs.maps[0] != expected).any() == changed
    torch.testing.assert_close(outputs.maps[0], expected, rtol=0.02, atol=0.02)
    torch.testing.assert_close(module(inputs).maps[0], expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("device", "supported", "half"), [("cuda", True, True), ("cuda", False, False), ("cpu", True, False)]
)
def test_auto_is_half_precision_where_it_is_faster(
    monkeypatch: pytest.MonkeyPatch, device: str, supported: bool, half: bool
) -> None:
    monkeypatch.setattr(devices, "pick_device", lambda: torch.device(device))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: supported)
    assert (devices.make_accelerator("auto").mixed_precision == "bf16") == half


def test_reproducible_restores_the_settings() -> None:
    before = torch.get_num_threads()
    with devices.reproducible(before + 1):
        assert torch.get_num_threads() == before + 1
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == before
    assert not torch.are_deterministic_algorithms_enabled()
