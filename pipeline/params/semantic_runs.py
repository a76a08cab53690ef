"""Rows that train and label in the semantic task: embeddings, pseudo-labels, runs of the comparison."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.params.base import Count, Name, Positive, Rate, Section, Seed
from pipeline.params.comparison import DenseCrf
from pipeline.params.semantic_methods import (
    PixelClassifier,
    RandomWalk,
    Retrieval,
    SemanticInference,
    Spml,
    SupervisedSemantic,
)

SemanticMethod = Annotated[Spml | PixelClassifier | SupervisedSemantic, Field(discriminator="kind")]


class Embedding(Section):
    """SPML's first stage: an embedding of pixels, trained on partial label maps and an over-segmentation."""

    settings: Name  # a row of `semantic_methods` of kind spml
    model: Name  # a row of `semantic_models`
    labels: Name  # a label set with maps
    segments: Name  # an over-segmentation of the training images
    backbone: Name
    seed: Seed


class SpreadLabels(Section):
    """Pseudo-labels for scribbles, points and boxes: what the classifier beside an embedding says, walked.

    Images are read at scale 1 with their mirror image; of `windows`, crop and stride count alone.
    """

    embedding: Name
    labels: Name  # those that the embedding was trained on
    walk: RandomWalk
    windows: SemanticInference
    dense_crf: DenseCrf
    processes: Positive  # of the dense CRF
    threads: Positive  # of the network


class SpreadSegmentLabels(Section):
    """Pseudo-labels for DensePose's points: the nearest labelled segments of the same image, walked.

    A table of its own, since DVC has no dependencies that only some rows have: this one's is `segments`.
    Images are read at scale 1 without their mirror image; of `windows`, crop and stride count alone.
    """

    embedding: Name
    labels: Name  # those that the embedding was trained on
    segments: Name  # the over-segmentation that it was trained on
    grid: Positive  # initial clusters per side
    iterations: Count  # of k-means
    walk: RandomWalk
    windows: SemanticInference
    dense_crf: DenseCrf
    processes: Positive
    threads: Positive


class SpreadCamLabels(Section):
    """Pseudo-labels for tags: class activation maps, walked, and then the nearest segments of all images.

    A table of its own, since DVC has no dependencies that only some rows have: this one's is `cams`.
    """

    embedding: Name
    labels: Name  # the tags behind the maps
    cams: Name  # a row of `cams` or `refined_cams`
    alpha: Rate  # the walk's background starts as (1 - greatest map) ** alpha: 6 in the release
    walk: RandomWalk
    windows: SemanticInference
    retrieval: Retrieval
    dense_crf: DenseCrf
    processes: Positive
    threads: Positive


class RetrievedLabels(Section):
    """The second round of pseudo-labels for tags: a classifier that the first round's have trained labels the
    segments of all images, and each image has the classes of the nearest ones.

    A table of its own, since DVC has no dependencies that only some rows have: this one's is `classifier`.
    """

    embedding: Name
    classifier: Name  # a row of `classifiers` on labels of `spread_cam_labels`, with the same embedding
    seed: Seed  # of the classifier
    labels: Name  # the tags
    walk: RandomWalk  # of what the classifier says
    inference: SemanticInference  # of the classifier; its windows are the embedding's, too
    retrieval: Retrieval
    dense_crf: DenseCrf
    processes: Positive
    threads: Positive


SpreadRow = SpreadLabels | SpreadSegmentLabels | SpreadCamLabels | RetrievedLabels


class SemanticRow(Section):
    """One row of the comparison: a network that says the class of every pixel."""

    title: Annotated[str, Field(min_length=1)]
    task: Literal["semantic"]
    settings: Name  # a row of `semantic_methods`
    labels: Name
    oracle: Name  # the row that `retention` divides by; its own name for an oracle, `none` without one
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    prediction: Name  # a row of `semantic_predict`


class ClassifierRun(SemanticRow):
    """SPML's last stage: a softmax classifier of a frozen embedding, on pseudo-labels."""

    embedding: Name


class SemanticRun(SemanticRow):
    """The whole network on the labelled pixels: of full maps the oracle, of seeds what they are worth.

    A table of its own, since DVC has no dependencies that only some rows have: this one's is `backbone`.
    """

    model: Name
    backbone: Name


class SemanticPredict(SemanticInference):
    """How label maps of the validation images are predicted, without and with a dense CRF."""

    dense_crf: DenseCrf
    processes: Positive  # of the dense CRF
    threads: Positive  # of the network
