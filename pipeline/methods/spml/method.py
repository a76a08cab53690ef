"""SPML's first stage: embeddings by contrast of pixels with segments (arXiv 2105.00957)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline import params
from pipeline.data.semantic_samples import SemanticSample, nearest_cells
from pipeline.methods.semantic.batches import stacked
from pipeline.methods.semantic.losses import pixel_cross_entropy
from pipeline.methods.spml.exchange import gather, of_others
from pipeline.methods.spml.features import color_features, location_features
from pipeline.methods.spml.memory import MemoryBank, State, joined
from pipeline.methods.spml.relations import (
    Others,
    affinity_sets,
    feature_affinity,
    image_similarity,
    semantic_annotation,
    semantic_cooccurrence,
)
from pipeline.methods.spml.segments import Clustering, Segments, make_segments
from pipeline.models.pixel_embedding import ClassifiedEmbedding


class Spml:
    """The embedding learns from four relationships; beside it a classifier learns from labelled pixels.

    module: the embedding and the classifier; the engine may wrap it.  The segments of the last steps are in
    checkpoints (`memory`) and not in the weights: inference does not need them.
    """

    module: nn.Module

    def __init__(self, settings: params.Spml, networks: ClassifiedEmbedding, classes: int) -> None:
        self.module = self.networks = networks
        self.settings, self.classes = settings, classes
        self.bank = MemoryBank(settings.memory_steps)

    def losses(self, batch: list[SemanticSample], step: int) -> dict[str, Tensor]:
        """The weighted terms of one step; a term of weight 0 is not computed."""
        images, labels, regions, tags = stacked(batch)
        images = self.networks.embedding.normalise(images, [sample.size for sample in batch])
        embeddings, logits = self.module(images)
        segments = self._segments(images, embeddings, labels, regions)
        losses = self._relations(segments, tags)
        if self.settings.joint_classifier:
            # The release adds it to the annotation term before that is weighted.
            weight = self.settings.annotation.weight
            losses["loss_pixels"] = weight * pixel_cross_entropy(logits, labels)
        else:
            losses["loss_pixels"] = 0 * logits.sum()
        count = torch.tensor(float(len(segments.label)), device=images.device)
        return losses | {"metric_segments": count / len(batch)}

    def after_step(self, step: int) -> None:
        """Nothing happens between steps."""

    def memory(self) -> State:
        """The segments of the last steps."""
        return self.bank.state()

    def recall(self, memory: State) -> None:
        """Go on with the segments that `memory` gave."""
        self.bank.restore(memory, next(self.networks.parameters()).device)

    def _segments(self, images: Tensor, embeddings: Tensor, labels: Tensor, regions: Tensor) -> Segments:
        settings, (height, width) = self.settings, embeddings.shape[2:]
        with torch.autocast(images.device.type, enabled=False):
            return make_segments(
                embeddings.float(),
                nearest_cells(labels, height, width),
                nearest_cells(regions, height, width),
                location_features(height, width, images.device),
                Clustering((settings.grid, settings.grid), settings.iterations, settings.joint_weight),
                color_features(images, height, width) if settings.color_features else None,
            )

    def _relations(self, segments: Segments, tags: Tensor) -> dict[str, Tensor]:
        settings = self.settings
        current = gather(Others(segments.prototypes, segments.label, tags[segments.image]))
        others = joined([*of_others(current), *self.bank.held()])
        terms: dict[str, Callable[[params.Relation], Tensor]] = {
            "annotation": lambda of: semantic_annotation(segments, others, of.concentration),
            "cooccurrence": lambda of: semantic_cooccurrence(
                segments, tags, others, of.concentration, skip_untagged=settings.skip_untagged
            ),
            "similarity": lambda of: image_similarity(
                segments, of.concentration, joint=settings.similarity_location
            ),
            "affinity": lambda of: self._affinity(segments, of.concentration),
        }
        losses = {}
        for name, term in terms.items():
            relation: params.Relation = getattr(settings, name)
            if relation.weight:
                losses[f"loss_{name}"] = relation.weight * term(relation)
        self.bank.push(current)
        return losses

    def _affinity(self, segments: Segments, concentration: float) -> Tensor:
        sets = affinity_sets(segments, self.classes, self.settings.affinity_threshold)
        current = gather(Others(segments.prototypes, segments.label, sets))
        return feature_affinity(segments, sets, joined(of_others(current)), concentration)
