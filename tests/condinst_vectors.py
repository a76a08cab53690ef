"""The tiny CondInst of the parity vectors: its stored pyramid and weights, and its tensors' names in them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.models.condinst import CondInstHeads, CondInstOutputs


class GivenPyramid(nn.Module):
    """Heads on stored p3..p7 in place of backbone and pyramid: what end_to_end_* vectors start from."""

    def __init__(self, heads: CondInstHeads) -> None:
        super().__init__()
        self.heads = heads
        self.pyramid: list[Tensor] = []

    def forward(self, images: Tensor, sizes: list[tuple[int, int]]) -> CondInstOutputs:
        """Ignores the images but for their padded size, to which each level is cut from its corner."""
        height, width = images.shape[-2:]
        levels = [
            level[:, :, : -(-height // stride), : -(-width // stride)]
            for level, stride in zip(self.pyramid, (8, 16, 32, 64, 128), strict=True)
        ]
        outputs: CondInstOutputs = self.heads(levels, {})
        return outputs


def reference_state(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    """The reference's names as ours: its scales and box outputs are modules of their own, ours joined."""
    arrays = {
        key.removeprefix("state.").removeprefix("proposal_generator."): value for key, value in arrays.items()
    }
    names = {
        "fcos_head.cls_tower.": "fcos_head.class_tower.",
        "fcos_head.bbox_tower.": "fcos_head.box_tower.",
        "fcos_head.cls_logits.": "fcos_head.class_logits.",
        "mask_branch.tower.2.": "mask_branch.project.",
        "mask_branch.": "mask_branch.",
    }
    state = {}
    for key, value in arrays.items():
        old = next((old for old in names if key.startswith(old)), None)
        if old is not None:
            state[names[old] + key.removeprefix(old)] = value
    for kind in ("weight", "bias"):
        parts = ("fcos_head.bbox_pred", "fcos_head.ctrness", "controller")
        state[f"fcos_head.box_outputs.{kind}"] = torch.cat([arrays[f"{part}.{kind}"] for part in parts])
    state["fcos_head.scales"] = torch.cat([arrays[f"fcos_head.scales.{level}.scale"] for level in range(5)])
    return state


def gradients_by_reference_name(heads: nn.Module) -> dict[str, torch.Tensor]:
    """What the reference keeps apart, one scale per level and three box outputs, is joined in our head."""
    found = {name: parameter.grad for name, parameter in heads.named_parameters()}
    for kind in ("weight", "bias"):
        joined = found.pop(f"fcos_head.box_outputs.{kind}")
        found[f"fcos_head.bbox_pred.{kind}"], found[f"fcos_head.ctrness.{kind}"] = joined[:4], joined[4:5]
    for level, slope in enumerate(found.pop("fcos_head.scales")):
        found[f"fcos_head.scales.{level}.scale"] = slope[None]
    names = {
        "fcos_head.": "proposal_generator.fcos_head.",
        "class_tower": "cls_tower",
        "box_tower": "bbox_tower",
        "class_logits": "cls_logits",
        "project.": "tower.2.",
    }
    for own, reference in names.items():
        found = {name.replace(own, reference): slope for name, slope in found.items()}
    return found
