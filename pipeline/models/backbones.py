"""Backbones by name: the own small network, or any of timm's that yields one feature map per stride."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, cast

import timm
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.models.frozen_batchnorm import BATCH_NORMS, FrozenBatchNorm, freeze_batchnorms
from pipeline.models.small_backbone import SmallBackbone
from pipeline.weights import read_weights

SMALL = "small"


class _FeatureInfo(Protocol):
    def channels(self) -> list[int]: ...

    def reduction(self) -> list[int]: ...

    def module_name(self) -> list[str]: ...


class Backbone(nn.Module):
    """A network that turns images into one feature map per stride.

    network: returns a list of maps; channels: stride -> channels, in the order of that list;
    ends: stride -> name of the module in `network` that yields the map; channels_last: maps come as
    (B, h, w, C).
    """

    def __init__(
        self, network: nn.Module, channels: dict[int, int], ends: dict[int, str], channels_last: bool = False
    ) -> None:
        super().__init__()
        self.network, self.channels, self.ends = network, channels, ends
        self.channels_last = channels_last

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """(B, 3, H, W) normalised images to {stride: (B, channels[stride], H / stride, W / stride)}.

        Raises ValueError unless H and W are multiples of the coarsest stride.
        """
        coarsest = max(self.channels)
        if images.shape[-2] % coarsest or images.shape[-1] % coarsest:
            raise ValueError(f"image size {tuple(images.shape[-2:])} is no multiple of {coarsest}; pad first")
        features: Sequence[Tensor] = self.network(images)
        if self.channels_last:
            features = [feature.permute(0, 3, 1, 2) for feature in features]
        return dict(zip(self.channels, features, strict=True))


def build_backbone(name: str, *, frozen_stages: int, frozen_batchnorm: bool) -> Backbone:
    """The backbone `name`, initialised at random from torch's global generator.

    frozen_stages: 0 = none, 1 = the stem, n >= 2 = all that leads to the map of stride 2**n, so 2 = the
    stem and the first stage; frozen layers get no gradients, and their batch statistics stay.
    frozen_batchnorm: batch norms everywhere become fixed scales and shifts, in training too.

    Raises UserError for a name that timm does not know or that has no pyramid of feature maps, and for
    stages that it cannot freeze.
    """
    backbone = _small() if name == SMALL else _from_timm(name)
    if frozen_stages:
        _freeze(backbone, name, frozen_stages)
    if frozen_batchnorm:
        freeze_batchnorms(backbone.network)
    return backbone


def load_backbone(backbone: Backbone, path: Path) -> None:
    """Load the weights of a backbone.safetensors file; an empty file (a random start) changes nothing.

    Raises UserError when the file is missing or damaged, or when its tensors are not those of `backbone`.
    """
    state = read_weights(path)
    if state:
        check_tensors(backbone.network, state, path)
        # Not strict: frozen batch norms have no counter of batches.
        backbone.network.load_state_dict(state, strict=False)


def check_tensors(network: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Raise UserError unless `state` has exactly the network's tensors, each in its shape."""
    wanted, given = _shapes(network.state_dict()), _shapes(state)
    remedy = "use weights of the same architecture"
    for problem, names in (
        ("missing", wanted.keys() - given.keys()),
        ("unexpected", given.keys() - wanted.keys()),
    ):
        if names:
            raise UserError(path, min(names), f"{problem} tensor (the first of {len(names)})", remedy)
    for name, shape in wanted.items():
        if given[name] != shape:
            raise UserError(path, name, f"has shape {given[name]}, and the backbone needs {shape}", remedy)


def _shapes(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {
        name: tuple(tensor.shape)
        for name, tensor in state.items()
        if not name.endswith(".num_batches_tracked")
    }


def _small() -> Backbone:
    network = SmallBackbone()
    ends = {4 << stage: f"stages.{stage}" for stage in range(len(network.stages))}
    return Backbone(network, network.channels, {2: "stem", **ends})


def _from_timm(name: str) -> Backbone:
    network = _create_timm(name)
    info = cast(_FeatureInfo, network.feature_info)
    strides = info.reduction()
    if len(strides) < 2 or any(fine >= coarse for fine, coarse in pairwise(strides)):
        raise UserError(
            "params.yaml",
            name,
            f"gives maps of strides {strides}, and a pyramid needs growing ones",
            "choose a network with stages, such as resnet50 or convnext_tiny",
        )
    if any(getattr(module, "strict_img_size", False) for module in network.modules()):
        network = _create_timm(name, strict_img_size=False)  # the default takes images of one size only
    channels_last = getattr(network, "output_fmt", None) == "NHWC"
    return Backbone(
        network,
        dict(zip(strides, info.channels(), strict=True)),
        dict(zip(strides, info.module_name(), strict=True)),
        channels_last,
    )


def _create_timm(name: str, **options: Any) -> nn.Module:
    """timm's network `name` as a list of feature maps.

    Raises UserError for a name that timm does not know, or whose features it cannot tap.
    """
    listing = 'list names by `python -c "import timm; print(*timm.list_models())"`'
    if not timm.is_model(name):
        raise UserError("params.yaml", name, "is neither `small` nor a network that timm knows", listing)
    try:
        return timm.create_model(name, features_only=True, pretrained=False, **options)
    except (AttributeError, NotImplementedError, AssertionError, KeyError, RuntimeError) as error:
        problem = f"timm cannot give its feature maps ({error})"
        raise UserError("params.yaml", name, problem, listing) from None


def _freeze(backbone: Backbone, name: str, frozen_stages: int) -> None:
    """Fix the parameters and the batch statistics of the modules that `frozen_stages` covers."""
    modules = list(_frozen_modules(backbone, name, frozen_stages))
    for _, module in modules:
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad = False
    for path, module in modules:
        if isinstance(module, BATCH_NORMS):
            backbone.network.set_submodule(path, FrozenBatchNorm(module))


def _frozen_modules(backbone: Backbone, name: str, frozen_stages: int) -> Iterator[tuple[str, nn.Module]]:
    """Modules in the order they are defined, which is the order they run in, up to the last frozen one.

    Raises UserError when the network has no map of that stride.
    """
    stem_only = frozen_stages == 1 and 2 not in backbone.ends  # then the stem leads to stride 4 at once
    end = backbone.ends.get(4 if stem_only else 2**frozen_stages)
    if end is None:
        raise UserError(
            "params.yaml",
            name,
            f"frozen_stages {frozen_stages} is not possible: its maps have"
            f" the strides {sorted(backbone.ends)}",
            "choose a smaller frozen_stages",
        )
    reached = False
    for path, module in backbone.network.named_modules():
        inside = f"{_flat(path)}_".startswith(f"{_flat(end)}_")
        reached = reached or inside
        if reached and (stem_only or not inside):
            return
        yield path, module
    if not reached:
        raise UserError(
            "params.yaml",
            name,
            f"its stages cannot be frozen: there is no module {end}",
            "set frozen_stages to 0",
        )


def _flat(path: str) -> str:
    """A module path in which timm's flattened children (`stages_0`) and their origin (`stages.0`) agree."""
    return path.replace(".", "_")
