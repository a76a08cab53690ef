"""CondInst's mask branch (arXiv 2003.05664, section 3.2): the features that every mask head reads."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from pipeline.models.layers import Norm, aligned_bilinear, conv_norm_relu


class MaskBranch(nn.Module):
    """Sums refined pyramid levels on the finest one, then a tower and a 1x1 convolution.

    Without skips this is the published branch, at the stride of the finest level.  Each entry of `skips`
    (stride -> channels of a backbone map finer than the pyramid) adds a stage that enlarges the tower's
    result to that stride, adds the backbone's map and mixes both; a stage halves the channels.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        out_channels: int,
        *,
        levels: int,
        convs: int,
        norm: Norm,
        stride: int,
        skips: Mapping[int, int],
    ) -> None:
        """in_channels: of the pyramid; levels: how many of its levels are used; stride: of the finest.

        Raises ValueError for skips that `params.CondInst` refuses.
        """
        super().__init__()
        self.refine = nn.ModuleList(conv_norm_relu(in_channels, channels, 3, norm) for _ in range(levels))
        self.tower = nn.Sequential(*(conv_norm_relu(channels, channels, 3, norm) for _ in range(convs)))
        self.skip_strides = tuple(sorted(skips, reverse=True))
        self.skips = nn.ModuleList()
        for skip in self.skip_strides:
            if skip >= stride or stride % skip:
                raise ValueError(f"the mask branch can add backbone strides that divide {stride}, not {skip}")
            self.skips.append(SkipStage(channels, skips[skip], channels // 2, stride // skip, norm))
            channels, stride = channels // 2, skip
        self.project = nn.Conv2d(channels, out_channels, 1)
        self.stride = stride

    def forward(self, pyramid: list[Tensor], features: Mapping[int, Tensor]) -> Tensor:
        """pyramid: (B, C, h, w) maps, finest first; features: the backbone's maps by stride.

        Returns (B, out_channels, H / stride, W / stride).
        """
        total = self.refine[0](pyramid[0])
        height, width = total.shape[-2:]
        for index, refine in enumerate(self.refine[1:], start=1):
            # Levels beyond the backbone's round odd sizes up: cut what then overhangs.
            total = total + aligned_bilinear(refine(pyramid[index]), 2**index)[..., :height, :width]
        total = self.tower(total)
        for stride, stage in zip(self.skip_strides, self.skips, strict=True):
            total = stage(total, features[stride])
        return self.project(total)  # type: ignore[no-any-return]


class SkipStage(nn.Module):
    """Enlarge by `factor` and add a finer backbone map; both are brought to `out_channels` first."""

    def __init__(self, channels: int, skip_channels: int, out_channels: int, factor: int, norm: Norm) -> None:
        super().__init__()
        self.factor = factor
        # A 1x1 convolution and bilinear enlargement commute; before it, it is factor^2 times cheaper.
        self.reduce = nn.Conv2d(channels, out_channels, 1)
        self.skip = conv_norm_relu(skip_channels, out_channels, 1, norm)
        self.mix = conv_norm_relu(out_channels, out_channels, 3, norm)

    def forward(self, maps: Tensor, feature: Tensor) -> Tensor:
        """maps: (B, channels, h, w); feature: (B, skip_channels, factor * h, factor * w)."""
        enlarged = aligned_bilinear(self.reduce(maps), self.factor)
        return self.mix(enlarged + self.skip(feature))  # type: ignore[no-any-return]
