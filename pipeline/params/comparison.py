"""The rows of the comparison, and how they predict, label and are evaluated."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from pipeline.params.base import Count, Name, Positive, Rate, Section, Seed, Share, Weight
from pipeline.params.methods import MeanField


class Trained(Section):
    """One row of the comparison: a model trained by a method on a label set."""

    title: Annotated[str, Field(min_length=1)]
    task: Literal["instances", "masks_in_boxes"]  # detect and segment; or segment what given boxes hold
    method: str  # the folder of pipeline/methods that the row depends on
    settings: Name  # the row of `methods`
    model: Name
    labels: Name
    backbone: Name
    oracle: Name  # the run that `retention` divides by; its own name for an oracle, `none` without one
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]


class Run(Trained):
    """A training on a label set alone."""

    method: Literal["supervised", "boxinst", "box_teacher", "mal", "mean_teacher"]


class Distilled(Trained):
    """A training on a label set and on what another run, trained on the same one, has learnt from it.

    A table of its own, since DVC has no dependencies that only some rows have: this one's is `teacher`.
    """

    method: Literal["guided_distillation"]
    teacher: Name  # a row of `runs`


class DenseCrf(Section):
    """A fully connected CRF (arXiv 1210.5644) with a smoothness and an appearance kernel."""

    backend: Literal["pydensecrf", "torch"]
    iterations: Positive
    smoothness_std: Rate  # pixels
    smoothness_weight: Weight
    appearance_std: Rate  # pixels
    appearance_color_std: Rate  # of 255
    appearance_weight: Weight


class _Baseline(Section):
    """Boxes to masks without training on the dataset, on the boxes that the run `detections` predicted."""

    title: Annotated[str, Field(min_length=1)]
    detections: Name
    oracle: Name


class Fill(_Baseline):
    """The filled box."""

    kind: Literal["fill"]
    processes: Positive


class Ellipse(_Baseline):
    """The ellipse inscribed in the box."""

    kind: Literal["ellipse"]
    processes: Positive


class TwoMeans(_Baseline):
    """Two clusters of colours in the box."""

    kind: Literal["two_means"]
    processes: Positive


class GrabCut(_Baseline):
    """GrabCut, started from the box."""

    kind: Literal["grabcut"]
    iterations: Positive
    processes: Positive


class CrfBaseline(_Baseline):
    """Another baseline's mask, refined by a dense CRF as an auto-labeler's probabilities are."""

    kind: Literal["crf"]
    start: Literal["fill", "ellipse", "two_means"]
    certainty: Annotated[float, Field(gt=0.5, lt=1)]  # the probability that a pixel is what the start says
    crop_size: Positive  # pixels
    expand: Weight  # what the crop has more than the box, in box sides, both ends together
    dense_crf: DenseCrf
    processes: Positive


class Sam(_Baseline):
    """Segment Anything with the box as prompt; the model is trained on masks of other images.

    A table of its own, since DVC has no dependencies that only some rows have: this one's is `weights`.
    """

    kind: ClassVar[Literal["sam"]] = "sam"
    weights: str  # a local folder in transformers' format
    device: Literal["auto", "cpu", "cuda"]


Classical = Annotated[Fill | Ellipse | TwoMeans | GrabCut | CrfBaseline, Field(discriminator="kind")]
Baseline = Classical | Sam


class Labeling(Section):
    """How an auto-labeler turns boxes into masks."""

    network: Literal["student", "teacher", "mean"]  # mean: of the logits of both
    flip: bool  # averages with the logits of the mirrored crop
    thresholds: tuple[Share, Share, Share]  # of boxes up to 32^2, up to 96^2 pixels, and larger
    refine: Literal["none", "mean_field", "dense_crf"]  # which decides, so that thresholds are not used
    mean_field: MeanField  # used when `refine` says so, as is dense_crf
    dense_crf: DenseCrf
    batch_size: Positive  # boxes
    workers: Count  # processes that read and crop images ahead; 0: none but this one
    threads: Positive

    def decisive(self) -> dict[str, Any]:
        """The keys that decide the masks, with their values."""
        decider = "thresholds" if self.refine == "none" else self.refine
        return {key: getattr(self, key) for key in ("network", "flip", "refine", decider)}


class PseudoLabels(Section):
    """A label set of masks that a run of task masks_in_boxes gives to the boxes of another label set."""

    labeler: Name
    seed: Seed  # one of the labeler's
    labels: Name
    labeling: Labeling


class NmsThreshold(Section):
    """IoU above which a detection suppresses worse ones of its class, by the network's architecture.

    Mask2Former has none: its queries are matched to objects one by one, so that none need be suppressed.
    """

    condinst: Share
    mask_rcnn: Share
    detectron2: Share


class Predict(Section):
    """Inference: input size, detection thresholds, limits; `labeling` for runs of task masks_in_boxes."""

    short_side: Positive
    max_side: Positive
    score_threshold: Share
    nms_threshold: NmsThreshold
    pre_nms_topk: Positive
    detections_per_image: Positive
    network: Literal["student", "teacher", "both"]  # of the methods TAUGHT; `both`: each has a row
    batch_size: Positive
    threads: Positive
    labeling: Labeling


class Evaluate(Section):
    """Evaluation: rules of AP, boundary width, bootstrap."""

    protocol: Literal["coco", "lvis"]  # lvis: only classes count that are known to be in an image or not
    max_detections: Positive  # that count, of an image and class; by LVIS's protocol of an image
    boundary_dilation: Share  # of the image diagonal
    bootstrap_samples: Annotated[int, Field(ge=100)]
    bootstrap_seed: Seed


class Report(Section):
    """What the page shows: its title and how many images of each kind the gallery has."""

    title: Annotated[str, Field(min_length=1)]
    gallery: Count
