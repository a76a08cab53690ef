"""Methods of semantic segmentation: SPML's two stages, and the supervised network they are compared with."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.params.base import Count, Positive, Rate, Section, Share, Weight
from pipeline.params.training import Training

Dropout = Annotated[float, Field(ge=0, lt=1)]
ClassIndex = Annotated[int, Field(ge=0, le=253)]  # the values above say that a pixel has no class


class SemanticAugmentation(Section):
    """Training input of label maps: scale, mirror, crop, grey and blur.

    A picture smaller than the crop is padded at the right and the bottom.
    """

    scale_range: tuple[Rate, Rate]
    horizontal_flip: Share
    swapped_classes: tuple[tuple[ClassIndex, ClassIndex], ...]  # by a mirror: left and right hand
    crop: tuple[Positive, Positive]  # height, width; multiples of 16
    grey_probability: Share
    blur_probability: Share
    blur_sigma: tuple[Rate, Rate]

    @model_validator(mode="after")
    def _is_possible(self) -> SemanticAugmentation:
        for key in ("scale_range", "blur_sigma"):
            low, high = getattr(self, key)
            if low > high:
                raise ValueError(f"{key} must rise")
        if any(side % 16 for side in self.crop):
            raise ValueError("crop must be multiples of 16, which the network's strides need")
        named = [index for pair in self.swapped_classes for index in pair]
        if len(set(named)) != len(named):
            raise ValueError("swapped_classes names a class twice")
        return self


class Relation(Section):
    """One of SPML's relationships between pixels and segments; weight 0 switches it off."""

    concentration: Annotated[float, Field(gt=0, le=32)]  # beyond, float32 would not hold its exponentials
    weight: Weight


class Spml(Section):
    """SPML (arXiv 2105.00957), first stage: embeddings by contrast of pixels with segments."""

    kind: Literal["spml"]
    annotation: Relation
    cooccurrence: Relation
    similarity: Relation
    affinity: Relation  # in the release's recipe of DensePose, which never computes it
    affinity_threshold: Annotated[float, Field(ge=-1, le=1)]  # least cosine of a labelled neighbour
    skip_untagged: bool  # pixels of images without tags leave the co-occurrence; the release has them
    similarity_location: bool  # image similarity on embeddings with location (VOC) or plain (DensePose)
    color_features: bool  # colours beside the location in clustering (DensePose)
    joint_weight: (
        Rate  # of the embedding beside location and colours, after clustering: 1, or 0.1 (DensePose)
    )
    grid: Positive  # initial clusters per side
    iterations: Count  # of k-means
    memory_steps: Count  # whose segments later steps see
    joint_classifier: bool  # a softmax classifier learns beside; its gradient does not reach the embedding
    dropout: Dropout  # of that classifier
    train: Training
    augmentation: SemanticAugmentation

    @model_validator(mode="after")
    def _is_possible(self) -> Spml:
        if self.train.ema:
            raise ValueError("ema must be 0: segments in memory are the trained network's")
        if self.train.repeat_threshold or self.train.group_by_aspect:
            raise ValueError("repeat_threshold must be 0 and group_by_aspect false: samples are crops")
        return self


class PixelClassifier(Section):
    """SPML's last stage: a softmax classifier of frozen embeddings, on pseudo-labels."""

    kind: Literal["pixel_classifier"]
    dropout: Dropout
    train: Training
    augmentation: SemanticAugmentation


class SupervisedSemantic(Section):
    """The same network on pixel labels, plain cross-entropy end to end."""

    kind: Literal["supervised_semantic"]
    dropout: Dropout
    train: Training
    augmentation: SemanticAugmentation


class RandomWalk(Section):
    """How scores spread between pixels whose embeddings are alike."""

    stride: Positive  # of the pixels that they spread between, in image pixels: 8
    sharpness: Rate  # affinity = exp(sharpness * (cosine - 1)) of each view
    power: Positive  # of the mean affinity
    squarings: Annotated[int, Field(ge=0, le=12)]  # of the transition matrix: 2 ** squarings steps


class Retrieval(Section):
    """Classes by the nearest segments of the training images."""

    grid: Positive  # initial clusters per side
    iterations: Count  # of k-means
    neighbours: Positive
    memory_scales: Annotated[tuple[Rate, ...], Field(min_length=1)]
    scales: Annotated[tuple[Rate, ...], Field(min_length=1)]
    mirror: bool
    floor: Annotated[float, Field(gt=0, le=1)]  # least maximum that a tagged class's scores are divided by


class SemanticInference(Section):
    """How images are read in inference."""

    scales: Annotated[tuple[Rate, ...], Field(min_length=1)]
    mirror: bool
    crop: Annotated[int, Field(gt=0, multiple_of=16)]  # side of the windows
    stride: Annotated[int, Field(gt=0, multiple_of=16)]  # between windows

    @model_validator(mode="after")
    def _leaves_no_gaps(self) -> SemanticInference:
        if self.stride > self.crop:
            raise ValueError(f"stride {self.stride} leaves gaps between windows of crop {self.crop}")
        return self
