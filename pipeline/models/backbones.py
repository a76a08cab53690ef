"""Backbones by name: the own small network, or any of timm's that yields feature maps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.models.bottlenecks import deform, stride_in_first
from pipeline.models.freezing import freeze_stages
from pipeline.models.frozen_batchnorm import freeze_batchnorms
from pipeline.models.small_backbone import SmallBackbone
from pipeline.models.vit import PlainViT, conv_stem
from pipeline.weights import read_weights

if TYPE_CHECKING:  # timm takes seconds to import, and the small network needs none of it
    from timm.models.vision_transformer import VisionTransformer

SMALL = "small"
_NONE: Mapping[str, str] = MappingProxyType({})
Stem = Literal["patch", "conv"]
_PLAIN_VITS = ("vision_transformer", "deit")  # timm's modules with transformers that PlainViT may take over


class _FeatureInfo(Protocol):
    def channels(self) -> list[int]: ...

    def reduction(self) -> list[int]: ...

    def module_name(self) -> list[str]: ...


class Backbone(nn.Module):
    """A network that turns images into one feature map per stride.

    network: returns a list of maps; channels: stride -> channels, in the order of that list;
    ends: stride -> name of the module in `network` that yields the map; channels_last: maps come as
    (B, h, w, C); unloaded: prefixes of the tensors that keep their start whatever weights are loaded;
    remedies: what to do when the tensor of a name has another shape in a file.
    """

    def __init__(
        self,
        network: nn.Module,
        channels: dict[int, int],
        ends: dict[int, str],
        channels_last: bool = False,
        unloaded: tuple[str, ...] = (),
        remedies: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.network, self.channels, self.ends = network, channels, ends
        self.channels_last, self.unloaded, self.remedies = channels_last, unloaded, remedies or {}

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """(B, 3, H, W) normalised images to {stride: (B, channels[stride], H / stride, W / stride)}.

        Raises ValueError unless H and W are multiples of the coarsest stride.
        """
        coarsest = max(self.channels)
        if images.shape[-2] % coarsest or images.shape[-1] % coarsest:
            raise ValueError(f"image size {tuple(images.shape[-2:])} is no multiple of {coarsest}; pad first")
        return dict(zip(self.channels, self.maps(images), strict=True))

    def maps(self, images: Tensor) -> list[Tensor]:
        """The maps of (B, 3, H, W) normalised images of any size, finest first, as (B, C, h, w).

        A convolutional network rounds the sides h and w up: there is no padding to take off again.
        """
        features: Sequence[Tensor] = self.network(images)
        if self.channels_last:
            features = [feature.permute(0, 3, 1, 2) for feature in features]
        return list(features[: len(self.channels)])


def build_backbone(
    name: str,
    *,
    frozen_stages: int,
    frozen_batchnorm: bool,
    single_map: bool = False,
    drop_path: float | None = None,
    stride_in_1x1: bool = False,
    deformable_stages: Sequence[int] = (),
) -> Backbone:
    """The backbone `name` with a pyramid of maps, initialised at random from torch's global generator.

    frozen_stages: 0 = none, 1 = the stem, n >= 2 = all that leads to the map of stride 2**n, so 2 = the
    stem and the first stage; frozen layers get no gradients, their batch statistics stay, and none is
    dropped.
    frozen_batchnorm: batch norms everywhere become fixed scales and shifts, in training too.
    single_map: a plain transformer will do, which has no pyramid.
    drop_path: rate of the last residual block, rising from 0 at the first; None leaves timm's.
    stride_in_1x1: of a ResNet's bottlenecks, rather than in the 3x3 convolution.
    deformable_stages: of a ResNet, 2 to 5, whose 3x3 convolutions are deformable; what these add to the
    plain ones starts at zero, and weights of a plain backbone are loaded around it.

    Raises UserError for a name that timm does not know or that has no pyramid of feature maps, for stages
    that it cannot freeze, for blocks that it cannot drop, and for bottlenecks that it does not have.
    """
    backbone = build_maps(name, drop_path=drop_path)
    if stride_in_1x1:
        stride_in_first(backbone.network, name)
    if deformable_stages:
        backbone.unloaded += deform(backbone.network, backbone.ends, name, deformable_stages)
    if len(backbone.channels) < 2 and not single_map:
        raise _no_pyramid(name, list(backbone.channels))
    if frozen_stages:
        frozen = freeze_stages(backbone.network, backbone.ends, name, frozen_stages)
        if name != SMALL:
            keep_blocks(frozen)
    if frozen_batchnorm:
        freeze_batchnorms(backbone.network)
    return backbone


def build_maps(
    name: str, *, stem: Stem = "patch", pretrained: bool = False, drop_path: float | None = None
) -> Backbone:
    """The backbone `name`: a pyramid of maps, or the one map of a plain vision transformer.

    stem: of a transformer; `conv` replaces its patch projection, which no file of weights fills then.
    pretrained: with timm's weights, from its cache or the network, instead of random ones; timm and the
    HTTP client raise what they like when that fails.
    drop_path: as in `build_backbone`.

    Raises UserError for a name that timm does not know, whose maps are of no use or whose blocks cannot be
    dropped.
    """
    transformer = is_one_of_timm(name, _PLAIN_VITS)
    if stem == "conv" and not transformer:
        raise UserError(
            "params.yaml", name, "has no patch projection that a stem could replace", "set stem to patch"
        )
    if name == SMALL:
        return _small()
    rate = {"drop_path_rate": drop_path} if drop_path else {}
    backbone = _plain_vit(name, stem, pretrained, rate) if transformer else _from_timm(name, pretrained, rate)
    if drop_path == 0 and name != SMALL:
        keep_blocks(backbone.modules())
    return backbone


def is_one_of_timm(name: str, modules: Sequence[str]) -> bool:
    """Whether one of these modules of timm's, such as `swin_transformer`, has a network `name`."""
    if name == SMALL:
        return False
    from timm.models import is_model_in_modules

    return is_model_in_modules(name, modules)


def keep_blocks(modules: Iterable[nn.Module]) -> None:
    """Train these without drop path; timm's Swin would have a rate of 0.1."""
    from timm.layers.drop import DropPath

    for module in modules:
        if isinstance(module, DropPath):
            module.drop_prob = 0.0


def load_backbone(backbone: Backbone, path: Path) -> list[str]:
    """Load the weights of a backbone.safetensors file; an empty file (a random start) changes nothing.

    Returns the names of tensors in the file that were left out because the backbone has a module of its
    own in their place (`unloaded`).

    Raises UserError when the file is missing or damaged, or when its tensors are not those of `backbone`.
    """
    return fill_backbone(backbone, read_weights(path), path)


def fill_backbone(backbone: Backbone, state: Mapping[str, Tensor], path: Path) -> list[str]:
    """`load_backbone` with what its file `path` holds."""
    if not state:
        return []
    ignored = [name for name in state if _kept(backbone, name)]
    state = {name: tensor for name, tensor in state.items() if name not in ignored}
    check_tensors(loadable(backbone), state, path, backbone.remedies)
    # Not strict: frozen batch norms have no counter of batches.
    backbone.network.load_state_dict(state, strict=False)
    return sorted(ignored)


def loadable(backbone: Backbone) -> dict[str, Tensor]:
    """The tensors of the backbone's network that weights are loaded into."""
    return {name: value for name, value in backbone.network.state_dict().items() if not _kept(backbone, name)}


def check_tensors(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], path: Path, remedies: Mapping[str, str] = _NONE
) -> None:
    """Raise UserError unless `state` has exactly the tensors `own`, each in its shape.

    remedies: name -> what to do when that tensor has another shape.
    """
    wanted, given = _shapes(own), _shapes(state)
    remedy = "use weights of the same architecture"
    for problem, names in (
        ("missing", wanted.keys() - given.keys()),
        ("unexpected", given.keys() - wanted.keys()),
    ):
        if names:
            raise UserError(path, min(names), f"{problem} tensor (the first of {len(names)})", remedy)
    for name, shape in wanted.items():
        if given[name] != shape:
            problem = f"has shape {given[name]}, and the network needs {shape}"
            raise UserError(path, name, problem, remedies.get(name, remedy))


def _kept(backbone: Backbone, name: str) -> bool:
    """Whether a tensor's place in the network keeps its start."""
    return name.startswith(backbone.unloaded)


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {
        name: tuple(tensor.shape)
        for name, tensor in state.items()
        if not name.endswith(".num_batches_tracked")
    }


def _small() -> Backbone:
    network = SmallBackbone()
    ends = {4 << stage: f"stages.{stage}" for stage in range(len(network.stages))}
    return Backbone(network, network.channels, {2: "stem", **ends})


def _plain_vit(name: str, stem: Stem, pretrained: bool, rate: dict[str, float]) -> Backbone:
    vit = cast("VisionTransformer", _create_timm(name, pretrained, num_classes=0, **rate))
    try:
        network = PlainViT(vit, conv_stem(vit) if stem == "conv" else None)
    except ValueError as error:
        remedy = "choose one such as deit_small_patch16_224 or vit_base_patch16_224.mae"
        raise UserError("params.yaml", name, str(error), remedy) from None
    side, pixels = network.side, network.side * network.patch
    return Backbone(
        network,
        {network.patch: network.dim},
        {network.patch: "norm"},
        unloaded=("patch_embed.",) if stem == "conv" else (),
        remedies={
            "pos_embed": f"use weights pre-trained on {pixels} x {pixels} pixels, with"
            f" {side} x {side} positions and that of the class token"
        },
    )


def _from_timm(name: str, pretrained: bool, rate: dict[str, float]) -> Backbone:
    network = _create_timm(name, pretrained, features_only=True, **rate)
    info = cast(_FeatureInfo, network.feature_info)
    strides = info.reduction()
    if any(fine >= coarse for fine, coarse in pairwise(strides)):
        raise _no_pyramid(name, strides)
    if any(getattr(module, "strict_img_size", False) for module in network.modules()):
        # The default takes images of one size only.
        network = _create_timm(name, pretrained, features_only=True, strict_img_size=False, **rate)
    channels_last = getattr(network, "output_fmt", None) == "NHWC"
    return Backbone(
        network,
        dict(zip(strides, info.channels(), strict=True)),
        dict(zip(strides, info.module_name(), strict=True)),
        channels_last,
    )


def _no_pyramid(name: str, strides: list[int]) -> UserError:
    return UserError(
        "params.yaml",
        name,
        f"gives maps of strides {strides}, and a pyramid needs growing ones",
        "choose a network with stages, such as resnet50 or convnext_tiny",
    )


def _create_timm(name: str, pretrained: bool, **options: Any) -> nn.Module:
    """timm's network `name`.

    Raises UserError for a name that timm does not know, whose features it cannot tap or that lacks an
    option.
    """
    import timm

    listing = 'list names by `python -c "import timm; print(*timm.list_models())"`'
    if not timm.is_model(name):
        raise UserError("params.yaml", name, "is neither `small` nor a network that timm knows", listing)
    try:
        return timm.create_model(name, pretrained=pretrained, **options)
    except TypeError as error:
        problem = f"does not take all of {', '.join(sorted(options))} ({error})"
        raise UserError("params.yaml", name, problem, "set drop_path to 0") from None
    except (AttributeError, NotImplementedError, AssertionError, KeyError, RuntimeError) as error:
        if pretrained:
            raise
        problem = f"timm cannot give its feature maps ({error})"
        raise UserError("params.yaml", name, problem, listing) from None
