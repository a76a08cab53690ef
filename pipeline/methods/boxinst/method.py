"""BoxInst (arXiv 2012.02310): a segmenter trained on boxes alone."""

from __future__ import annotations

from torch import Tensor, nn

from pipeline import params
from pipeline.methods.box_supervision.batch import box_losses
from pipeline.methods.box_supervision.losses import warmup
from pipeline.methods.detection.segmenter import Learnt, Segmenter
from pipeline.methods.detection.segmenter_method import SegmenterMethod
from pipeline.structures import PaddedBatch, Sample


class BoxInst(SegmenterMethod):
    """Detection losses, and the projection and pairwise losses of the proposals' masks."""

    def __init__(self, settings: params.BoxInst, network: nn.Module, segmenter: Segmenter) -> None:
        super().__init__(network, segmenter)
        self.settings = settings

    def mask_losses(
        self, learnt: Learnt, batch: list[Sample], padded: PaddedBatch, step: int
    ) -> dict[str, Tensor]:
        factor = warmup(step, self.settings.pairwise_warmup)
        return box_losses(learnt, batch, padded, self.settings, factor)
