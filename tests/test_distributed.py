"""Without a process group; tests/engine/test_resume.py has two processes."""

from __future__ import annotations

import torch

from pipeline import distributed


def test_a_single_process_is_the_main_one() -> None:
    assert not distributed.active()
    assert distributed.is_main()
    assert (distributed.process_index(), distributed.process_count()) == (0, 1)


def test_a_single_process_gets_its_own_values_back() -> None:
    value = torch.rand(3, requires_grad=True)
    assert distributed.mean_over_processes(value) is value
    assert distributed.mean_over_processes(torch.tensor(3)).dtype == torch.float32
    assert distributed.gather_objects({"a": 1}) == [{"a": 1}]
    assert distributed.first_object("a") == "a"
