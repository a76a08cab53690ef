"""From params to a method of semantic segmentation with its network."""

from __future__ import annotations

from pathlib import Path

from pipeline import params
from pipeline.methods.semantic.classifier import PixelClassification
from pipeline.methods.spml.method import Spml
from pipeline.models.backbones import load_backbone
from pipeline.models.pixel_embedding import (
    ClassifiedEmbedding,
    FrozenEmbedding,
    PixelClassifier,
    build_pixel_embedding,
)
from pipeline.weights import load_weights

SemanticMethod = params.Spml | params.PixelClassifier | params.SupervisedSemantic


def build_networks(
    settings: SemanticMethod, model: params.PixelEmbedding, classes: int, start: Path | None = None
) -> ClassifiedEmbedding:
    """The networks that `settings` trains, the backbone from the weights in `start`, if given.

    Other weights are drawn from torch's global generator.  Raises UserError for weights that do not fit.
    """
    embedding = build_pixel_embedding(model)
    if start is not None:
        load_backbone(embedding.backbone, start)
    classifier = PixelClassifier(embedding.channels, classes, settings.dropout)
    if isinstance(settings, params.PixelClassifier):
        return FrozenEmbedding(embedding, classifier)
    return ClassifiedEmbedding(embedding, classifier, detached=isinstance(settings, params.Spml))


def build_semantic(
    settings: SemanticMethod,
    model: params.PixelEmbedding,
    classes: int,
    start: Path | None = None,
    embedding: Path | None = None,
) -> Spml | PixelClassification:
    """The method with its networks.

    start: weights of the backbone; embedding: `model.safetensors` of a trained SPML, whose embedding a
    `PixelClassifier` classifies.  Raises UserError for weights that do not fit.
    """
    networks = build_networks(settings, model, classes, start)
    if isinstance(settings, params.Spml):
        return Spml(settings, networks, classes)
    if embedding is not None:
        trained = ClassifiedEmbedding(
            networks.embedding, PixelClassifier(networks.embedding.channels, classes, 0.0), detached=True
        )
        load_weights(trained, embedding)
    return PixelClassification(settings, networks)
