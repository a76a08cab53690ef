"""SGD as Caffe has it, which the DeepLab family of methods is tuned for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class CaffeSGD(Optimizer):
    """v <- momentum * v + rate * (gradient + decay * p);  p <- p - v.

    PyTorch's SGD keeps the rate out of v, which is another method as soon as the rate changes: there the
    whole of v follows the rate at once.  `parameter_groups` gives its biases twice the rate and no decay.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], momentum: float) -> None:
        """groups: each with `params`, `lr` and `weight_decay`."""
        super().__init__(groups, {"lr": 0.0, "weight_decay": 0.0, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of all parameters that have a gradient; `closure` is not asked."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            slopes = [parameter.grad for parameter in parameters]
            if group["weight_decay"]:
                slopes = list(torch._foreach_add(slopes, parameters, alpha=group["weight_decay"]))
            moments = [self._moment(parameter) for parameter in parameters]
            torch._foreach_mul_(moments, group["momentum"])
            torch._foreach_add_(moments, slopes, alpha=group["lr"])
            torch._foreach_sub_(parameters, moments)

    def _moment(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        moment: Tensor = state["momentum_buffer"]
        return moment
