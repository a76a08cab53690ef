from __future__ import annotations

import pytest
import torch

from pipeline.models.fcos_head import FCOSHead

NAMES = {"cls_tower.": "class_tower.", "bbox_tower.": "box_tower.", "cls_logits.": "class_logits."}
BOX_OUTPUTS = ("state.bbox_pred", "state.ctrness", "controller")


def reference_head(arrays):
    state = {
        new + key.removeprefix(f"state.{old}"): value
        for key, value in arrays.items()
        for old, new in NAMES.items()
        if key.startswith(f"state.{old}")
    }
    for kind in ("weight", "bias"):
        state[f"box_outputs.{kind}"] = torch.cat([arrays[f"{name}.{kind}"] for name in BOX_OUTPUTS])
    state["scales"] = torch.cat([arrays[f"state.scales.{level}.scale"] for level in range(5)])
    head = FCOSHead(32, 3, 9, convs=1, levels=5)
    head.load_state_dict(state)
    return head


def test_matches_reference(load, close):
    arrays = load("fcos_head")
    pyramid = [arrays[f"feat_{level}"].requires_grad_() for level in range(5)]
    outputs = reference_head(arrays)(pyramid)
    total = torch.zeros(())
    for name, parts in zip(("logits", "reg", "ctrness", "top"), vars(outputs).values(), strict=True):
        for level, part in enumerate(parts):
            close(part, arrays[f"{name}_{level}"], rtol=1e-3)
            total = total + (part * arrays[f"cot_{name}_{level}"]).sum()
    total.backward()
    for level, maps in enumerate(pyramid[:3]):
        close(maps.grad, arrays[f"grad_feat_{level}"], rtol=5e-3, share=1e-4)
    # With one channel per group and one cell, the norm's output is constant: the gradient is zero, and
    # what is stored for these levels is rounding.
    for level, maps in enumerate(pyramid[3:], start=3):
        assert maps.shape[-2:] == (1, 1)
        torch.testing.assert_close(maps.grad, arrays[f"grad_feat_{level}"], rtol=0, atol=1e-5)


def test_classes_start_at_their_prior():
    head = FCOSHead(48, 4, 9, convs=2, levels=2)
    outputs = head([torch.randn(1, 48, 4, 4), torch.randn(1, 48, 2, 2)])
    for logits in outputs.class_logits:
        torch.testing.assert_close(logits.sigmoid(), torch.full_like(logits, 0.01), rtol=0.5, atol=0)


def test_number_of_levels_must_fit():
    with pytest.raises(ValueError):
        FCOSHead(8, 4, 9, convs=1, levels=2)([torch.randn(1, 8, 4, 4)])
