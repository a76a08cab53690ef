"""Pixels classified: SPML's last stage on pseudo-labels, or the whole network on labels."""

from __future__ import annotations

from torch import Tensor, nn

from pipeline import params
from pipeline.data.semantic_samples import SemanticSample
from pipeline.methods.semantic.batches import stacked
from pipeline.methods.semantic.losses import pixel_cross_entropy
from pipeline.models.pixel_embedding import ClassifiedEmbedding


class PixelClassification:
    """Plain cross-entropy.

    With a `FrozenEmbedding` the classifier alone learns: SPML's last stage.  With a `ClassifiedEmbedding`
    that is not detached, all of it learns: supervised segmentation by the same network, SPML's oracle.
    module: the engine may wrap it.
    """

    module: nn.Module

    def __init__(
        self, settings: params.PixelClassifier | params.SupervisedSemantic, networks: ClassifiedEmbedding
    ) -> None:
        self.module = self.networks = networks
        self.settings = settings

    def losses(self, batch: list[SemanticSample], step: int) -> dict[str, Tensor]:
        """The cross-entropy at the labels' size; unlabelled and void pixels do not count."""
        images, labels, _, _ = stacked(batch)
        images = self.networks.embedding.normalise(images, [sample.size for sample in batch])
        embeddings, logits = self.module(images)
        # The embeddings take part with weight 0: the engine's processes average all that a forward returns.
        return {"loss_pixels": pixel_cross_entropy(logits, labels) + 0 * embeddings.sum()}

    def after_step(self, step: int) -> None:
        """Nothing happens between steps."""
