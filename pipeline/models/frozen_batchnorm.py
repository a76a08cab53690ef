"""Batch norms as fixed scales and shifts: what a pre-trained backbone has that is not to learn its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

BATCH_NORMS = (
    nn.BatchNorm2d,
    nn.SyncBatchNorm,
)  # timm's variants, with an activation inside, derive from them


class FrozenBatchNorm(nn.Module):
    """A batch norm that stays in evaluation mode: nothing of it is learnt or updated, in training too.

    Its tensors have the batch norm's names, but are all buffers, and there is no counter of batches.

    The result has the dtype of the input.  Under autocast a bfloat16 map stays one; the frozen norms of
    torchvision and timm multiply it by float32 tensors, which turns it and all that follows into float32:
    twice the memory of the backbone's activations.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, norm: nn.BatchNorm2d | nn.SyncBatchNorm) -> None:
        """Take over the tensors of `norm` and, of timm's variants, what follows it (`drop`, `act`)."""
        super().__init__()
        assert norm.running_mean is not None, "a batch norm without statistics cannot be frozen"
        assert norm.running_var is not None
        ones, zeros = torch.ones_like(norm.running_var), torch.zeros_like(norm.running_mean)
        self.register_buffer("weight", norm.weight.detach().clone() if norm.affine else ones)
        self.register_buffer("bias", norm.bias.detach().clone() if norm.affine else zeros)
        self.register_buffer("running_mean", norm.running_mean.clone())
        self.register_buffer("running_var", norm.running_var.clone())
        self.eps = norm.eps
        self.drop: nn.Module = getattr(norm, "drop", nn.Identity())
        self.act: nn.Module = getattr(norm, "act", nn.Identity())

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W), of any floating dtype, to the same."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        scale, shift = (part.to(maps.dtype)[:, None, None] for part in (scale, shift))
        result: Tensor = self.act(self.drop(maps * scale + shift))
        return result


def freeze_batchnorms(module: nn.Module) -> nn.Module:
    """Replace each batch norm below `module`, in place, by a frozen one; returns `module`, or its own."""
    if isinstance(module, BATCH_NORMS):
        return FrozenBatchNorm(module)
    for name, child in list(module.named_children()):
        module.add_module(name, freeze_batchnorms(child))
    return module
