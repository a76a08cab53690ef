from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.errors import UserError
from pipeline.weights import load_weights, save_weights


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(3, 3)
        self.decoder = nn.Linear(3, 3)
        self.decoder.weight = self.encoder.weight
        self.register_buffer("turned", torch.arange(6).reshape(2, 3).T)


def test_round_trip_with_tied_and_turned_tensors(tmp_path: Path) -> None:
    module, other = Tied(), Tied()
    save_weights(module, tmp_path / "a.safetensors")
    load_weights(other, tmp_path / "a.safetensors")
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor, rtol=0, atol=0)
    assert other.decoder.weight is other.encoder.weight


def test_equal_weights_give_equal_bytes_without_metadata(tmp_path: Path) -> None:
    module = Tied()
    for name in ("a", "b"):
        save_weights(module, tmp_path / f"{name}.safetensors")
    data = (tmp_path / "a.safetensors").read_bytes()
    assert data == (tmp_path / "b.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert set(header) == set(module.state_dict())


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(UserError, match="not found"):
        load_weights(Tied(), path)
    save_weights(Tied(), path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match="safetensors"):
        load_weights(Tied(), path)


@pytest.mark.parametrize(
    ("other", "tensor"),
    [
        (nn.Linear(3, 2), "bias"),
        (nn.Linear(2, 3, bias=False), "bias"),
        (nn.Sequential(nn.Linear(2, 3)), "0.bias"),
    ],
)
def test_weights_of_another_model_are_refused(tmp_path: Path, other: nn.Module, tensor: str) -> None:
    save_weights(nn.Linear(2, 3), tmp_path / "a.safetensors")
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(UserError, match=tensor) as caught:
        load_weights(other, tmp_path / "a.safetensors")
    assert "\n" not in str(caught.value)
    for name, value in other.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
