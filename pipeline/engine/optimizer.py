"""The optimiser: which parameter gets which learning rate and weight decay."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer

from pipeline.params import Training

# What has norm_weight_decay.  _NormBase: batch and instance norms; the names are Swin's tables of positions.
_LAYERS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.Embedding)
_NAMES = ("relative_position_bias_table", "absolute_pos_embed")


def parameter_groups(module: nn.Module, training: Training) -> list[dict[str, Any]]:
    """Trainable parameters by learning rate and weight decay, in the order of the module.

    Parameters of a module called `backbone`, or `backbone_` and more, learn at backbone_rate times the rate.
    Those of normalisation layers and of embeddings have norm_weight_decay; all others, biases included, have
    weight_decay, as detectron2 and Mask2Former have it.
    """
    spared = {
        id(parameter)
        for layer in module.modules()
        for name, parameter in layer.named_parameters(recurse=False)
        if isinstance(layer, _LAYERS) or name in _NAMES
    }
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            rate = training.learning_rate * (training.backbone_rate if _of_backbone(name) else 1.0)
            decay = training.norm_weight_decay if id(parameter) in spared else training.weight_decay
            groups.setdefault((rate, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "initial_lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]


def _of_backbone(name: str) -> bool:
    return any(part == "backbone" or part.startswith("backbone_") for part in name.split("."))


def make_optimizer(module: nn.Module, training: Training) -> Optimizer:
    """SGD with momentum, or AdamW (arXiv 1711.05101), over `parameter_groups`."""
    groups = parameter_groups(module, training)
    # The fused kernels update all parameters in one call: on a small network the loop over them costs
    # more than the arithmetic.
    if training.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=training.momentum, fused=True)
    return torch.optim.AdamW(groups, betas=training.betas, fused=True)


def scale_rates(optimizer: Optimizer, factor: float) -> None:
    """Set every group's learning rate to `factor` times its initial one."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
