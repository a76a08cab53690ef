"""Change a pre-trained backbone's resolution without a new weight: take out strides, cut off stages."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from pipeline.errors import UserError
from pipeline.models.backbones import Backbone


def keep_resolution(backbone: Backbone, output_stride: int, name: str) -> None:
    """Take out the strides of all stages that lead to maps coarser than `output_stride`, in place.

    Kernels are not dilated to make up for it, as in IRN's classifier (arXiv 1904.05044): ResNet-50 with
    output_stride 16 has the strides 2, 2, 2, 1 after its stem.  `Backbone.maps` gives maps of the new
    strides; the keys of `Backbone.channels` stay.  name: of the backbone, for messages.

    Raises UserError for a backbone whose strides are in layers that cannot do without.
    """
    coarser = [stride for stride in backbone.ends if stride > output_stride]
    if not coarser:
        return
    for stride, _, module in _by_stage(backbone):
        if stride in coarser:
            _take_out(module)
    strides = measured_strides(backbone)
    wanted = [min(stride, output_stride) for stride in backbone.channels]
    if strides != wanted:
        raise UserError(
            "params.yaml",
            name,
            f"its maps would have the strides {strides}, and output_stride {output_stride} needs {wanted}",
            "set output_stride to the stride of the map itself, or choose a ResNet",
        )


def cut_off(backbone: Backbone, stride: int) -> None:
    """Empty all stages beyond the map of `stride`, in place, so that they cost nothing.

    Call it after the weights are loaded: a file of weights has those of all stages.  Maps beyond are copies
    of the last one, and `channels` no longer lists them.
    """
    gone: list[str] = []
    for reached, path, _ in _by_stage(backbone):
        beyond = reached is None or reached > stride
        if beyond and not path.startswith(tuple(f"{parent}." for parent in gone)):
            gone.append(path)
    for path in gone:
        backbone.network.set_submodule(path, nn.Identity())
    backbone.channels = {key: count for key, count in backbone.channels.items() if key <= stride}


def measured_strides(backbone: Backbone) -> list[int]:
    """The stride of each map, whatever its nominal one is."""
    side = 2 * max(backbone.channels)
    parameter = next(backbone.parameters())
    training = backbone.training
    with torch.no_grad():
        maps = backbone.eval().maps(parameter.new_zeros(1, 3, side, side))
    backbone.train(training)
    return [side // feature.shape[-1] for feature in maps]


def _by_stage(backbone: Backbone) -> Iterator[tuple[int | None, str, nn.Module]]:
    """Modules in the order they are defined, which is the order they run in, with the stride they lead to.

    Modules that hold an end among others are left out; behind the last map, the stride is None.
    """
    ends = iter(backbone.ends.items())
    stride, end = next(ends)
    reached = False
    for path, module in list(backbone.network.named_modules()):
        if not path or any(module_path.startswith(f"{path}.") for module_path in backbone.ends.values()):
            continue
        inside = f"{_flat(path)}_".startswith(f"{_flat(end)}_")
        if reached and not inside:
            stride, end = next(ends, (0, ""))
            reached = False
            inside = bool(end) and f"{_flat(path)}_".startswith(f"{_flat(end)}_")
        reached = reached or inside
        yield stride or None, path, module


def _flat(path: str) -> str:
    """A module path in which timm's flattened children (`stages_0`) and their origin (`stages.0`) agree."""
    return path.replace(".", "_")


def _take_out(module: nn.Module) -> None:
    """Remove the stride of a layer that works without: odd convolutions, means in ResNet-D's shortcuts."""
    if isinstance(module, nn.Conv2d) and all(side % 2 for side in module.kernel_size):
        module.stride = (1, 1)
    elif isinstance(module, nn.AvgPool2d):
        module.kernel_size = module.stride = 1
