"""Weights that the authors of CondInst, BoxInst and BoxTeacher publish, in the names of our CondInst."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch

from pipeline.errors import UserError
from pipeline.methods.pretraining.detectron2_names import backbone_names
from pipeline.models.backbones import Backbone
from pipeline.state_dicts import State, read_state

_TEACHER, _STUDENT = "teacher.", "student."  # BoxTeacher's two networks; it predicts with the teacher
_HEAD, _OURS = "proposal_generator.fcos_head.", "heads.fcos_head."
# Patterns of names, and what they are here; the first that fits counts.
_NAMES: tuple[tuple[str, str], ...] = (
    (rf"{re.escape(_HEAD)}cls_tower\.", f"{_OURS}class_tower."),
    (rf"{re.escape(_HEAD)}bbox_tower\.", f"{_OURS}box_tower."),
    (rf"{re.escape(_HEAD)}cls_logits\.", f"{_OURS}class_logits."),
    (r"mask_branch\.refine\.", "heads.mask_branch.refine."),
    (r"mask_branch\.tower\.(\d+\.\d+)\.", r"heads.mask_branch.tower.\1."),
    (r"mask_branch\.tower\.\d+\.", "heads.mask_branch.project."),
)
_LEVEL = re.compile(r"backbone\.(?:(fpn_lateral|fpn_output)|top_block\.p)(\d)\.(weight|bias)")
_NORM = re.compile(r"backbone\.bottom_up\.norm(\d)\.(weight|bias)")
# One layer here, in this order, with three parts there; and a tensor here, with one per level there.
_BOX_OUTPUTS = f"{_HEAD}bbox_pred", f"{_HEAD}ctrness", "controller"
_SCALE = re.compile(re.escape(_HEAD) + r"scales\.(\d)\.scale")
# Not learnt, but derived: counters, sizes, the index of a Swin's table.  And the head of an auxiliary loss.
_LEFT_OUT = re.compile(
    r"mask_head\.(_iter|sizes_of_interest)|pixel_mean|pixel_std|backbone\..*\.relative_position_index"
    r"|mask_branch\.(seg_head|logits)\..*"
)


def read_condinst(
    path: Path, backbone: Backbone, content: Literal["condinst", "boxinst", "boxteacher"]
) -> tuple[State, list[str]]:
    """The network in a file of the originals', in our names, and the names of the tensors left out.

    backbone: of the architecture that the file's has, a ResNet or a Swin; content: of boxteacher, which
    holds two networks, the teacher is taken.  The class head comes with it.

    Raises UserError when the file is missing, holds no state dict, lacks a part of the network that has
    another form here, or has a tensor of another network.
    """
    theirs = read_state(path)
    ignored: list[str] = []
    if content == "boxteacher":
        theirs, ignored = _teacher(theirs, path)
    names, first = backbone_names(backbone), _first_level(theirs)
    state: State = {}
    for name, tensor in theirs.items():
        if _LEFT_OUT.fullmatch(name):
            ignored.append(name)
        elif not _is_joined(name):
            ours = _renamed(name, names, first, path)
            if ours in state:
                raise UserError(path, name, f"is a second {ours}", "use weights of a CondInst")
            state[ours] = tensor
    return state | _joined(theirs, path), ignored


def _teacher(state: State, path: Path) -> tuple[State, list[str]]:
    teacher = {
        name.removeprefix(_TEACHER): tensor for name, tensor in state.items() if name.startswith(_TEACHER)
    }
    if not teacher:
        problem = f"has no tensor whose name begins with {_TEACHER}, as a checkpoint of BoxTeacher"
        raise UserError(path, "", problem, "set the row's content to boxinst or condinst")
    others = [name for name in state if not name.startswith(_TEACHER)]
    for name in others:
        if not name.startswith(_STUDENT):
            raise _unknown(path, name)
    return teacher, others


def _first_level(state: State) -> int:
    """The number of the finest level of the pyramid, 3 for stride 8."""
    return min((int(match[2]) for name in state if (match := _LEVEL.fullmatch(name))), default=3)


def _is_joined(name: str) -> bool:
    return bool(_SCALE.fullmatch(name)) or name.rpartition(".")[0] in _BOX_OUTPUTS


def _renamed(name: str, backbone: Mapping[str, str], first: int, path: Path) -> str:
    if match := _NORM.fullmatch(name):  # of the map of stride 4, norm0
        return f"backbone_norms.{int(match[1]) + 2 - first}.{match[2]}"
    bottom_up = name.removeprefix("backbone.bottom_up.")
    if bottom_up != name and bottom_up in backbone:
        return f"backbone.network.{backbone[bottom_up]}"
    if match := _LEVEL.fullmatch(name):
        return _level_name(match, first)
    for pattern, ours in _NAMES:
        if match := re.match(pattern, name):
            return match.expand(ours) + name[match.end() :]
    raise _unknown(path, name)


def _level_name(match: re.Match[str], first: int) -> str:
    """p6 is the first level beyond a backbone whose last map has stride 32."""
    kind, level, part = match.groups()
    if kind is None:
        return f"fpn.extra.{int(level) - 6}.{part}"
    return f"fpn.{kind.removeprefix('fpn_')}.{int(level) - first}.{part}"


def _joined(theirs: State, path: Path) -> State:
    """The tensors here that are several there."""
    state: State = {}
    for part in ("weight", "bias"):
        names = [f"{layer}.{part}" for layer in _BOX_OUTPUTS]
        for name in names:
            _require(theirs, name, path)
            if theirs[name].shape[1:] != theirs[names[0]].shape[1:]:
                problem = f"has shape {tuple(theirs[name].shape)}, and {names[0]}"
                problem += f" {tuple(theirs[names[0]].shape)}: only the first number may differ"
                raise UserError(path, name, problem, "use weights of a CondInst")
        state[f"{_OURS}box_outputs.{part}"] = torch.cat([theirs[name] for name in names])
    levels = sum(bool(_SCALE.fullmatch(name)) for name in theirs)
    scales = [f"{_HEAD}scales.{level}.scale" for level in range(max(levels, 1))]
    for name in scales:
        _require(theirs, name, path)
        if theirs[name].numel() != 1:
            problem = f"has shape {tuple(theirs[name].shape)}, and is one number per level"
            raise UserError(path, name, problem, "use weights of a CondInst")
    state[f"{_OURS}scales"] = torch.cat([theirs[name].reshape(1) for name in scales])
    return state


def _require(state: State, name: str, path: Path) -> None:
    if name not in state:
        raise UserError(path, name, "missing tensor", "use weights of a CondInst")


def _unknown(path: Path, name: str) -> UserError:
    return UserError(
        path,
        name,
        "is no tensor of a CondInst with this backbone",
        "correct the row's architecture and content (docs/recipes.md)",
    )
