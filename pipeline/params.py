"""The sections of params.yaml as frozen, validated models: unknown keys and bad values are refused.

A table (`runs`, `methods`, ...) maps a name to a row.  Every key must be written out: DVC tracks
parameters by key, and an optional key would be invisible to it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what every random generator takes
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """Base of every section: frozen, no unknown keys, no silent conversion of text to numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


# --- data -------------------------------------------------------------------------------------------


class Shapes(Section):
    """A procedural dataset: `train` and `val` scenes of `size` x `size` pixels from disjoint seeds."""

    train: Positive
    val: Positive
    size: Annotated[int, Field(ge=32, le=1024)]
    seed: Seed
    hard: bool  # adds rings and crescents, which defeat projection losses
    processes: Positive


class CocoFolder(Section):
    """A dataset in COCO format.  Paths are relative to the repository; `val_*` may repeat `train_*`."""

    train_json: str
    train_images: str
    val_json: str
    val_images: str
    processes: Positive


class Labels(Section):
    """One label file derived from an annotation file: the only thing a training stage sees of it."""

    kind: Literal["boxes", "masks"]
    split: Literal["train", "val"]


# --- models -----------------------------------------------------------------------------------------


class ShapesPretraining(Section):
    """Backbone start learnt by classifying single procedural objects: the demo's downloaded weights."""

    kind: Literal["shapes_pretraining"]
    architecture: str
    images: Positive
    size: Annotated[int, Field(ge=32)]
    seed: Seed
    steps: Positive
    batch_size: Positive
    learning_rate: Rate
    weight_decay: Weight
    hard: bool
    threads: Positive


class TimmWeights(Section):
    """Backbone start downloaded by timm (needs a network once, then its cache)."""

    kind: Literal["timm"]
    architecture: str


class WeightFile(Section):
    """Backbone start from a local .safetensors or .pth state dict."""

    kind: Literal["file"]
    architecture: str
    path: str


class RandomStart(Section):
    """No start: every run initialises its backbone from its own seed."""

    kind: Literal["random"]
    architecture: str


Backbone = Annotated[ShapesPretraining | TimmWeights | WeightFile | RandomStart, Field(discriminator="kind")]


class CondInst(Section):
    """CondInst (arXiv 2003.05664).  Defaults of the reference are in presets/coco.yaml."""

    architecture: Literal["condinst"]
    backbone: str  # `small` (own GroupNorm network), or any timm name that supports features_only
    frozen_stages: Annotated[int, Field(ge=0, le=5)]  # 2 = stem and first stage, as the reference
    frozen_batchnorm: bool
    pixel_format: Literal["bgr", "rgb"]
    pixel_mean: tuple[float, float, float]  # in 0..255, in the order of pixel_format
    pixel_std: tuple[Rate, Rate, Rate]
    fpn_channels: Positive
    fpn_strides: tuple[Positive, ...]  # levels beyond the backbone's last are made by stride-2 convs
    sizes_of_interest: tuple[Positive, ...]  # per level; all but the last are also the range limits
    head_convs: Positive
    mask_branch_levels: Positive
    mask_branch_channels: Positive
    mask_branch_convs: Count
    mask_branch_norm: Literal["batchnorm", "groupnorm"]
    mask_branch_skips: tuple[Positive, ...]  # strides of backbone features added after the tower
    mask_features: Positive
    mask_out_stride: Positive
    mask_head_channels: Positive
    mask_head_layers: Annotated[int, Field(ge=1)]
    relative_coordinates: bool

    @model_validator(mode="after")
    def _consistent(self) -> CondInst:
        if len(self.sizes_of_interest) != len(self.fpn_strides):
            raise ValueError("sizes_of_interest needs one entry per entry of fpn_strides")
        if any(b != 2 * a for a, b in zip(self.fpn_strides, self.fpn_strides[1:], strict=False)):
            raise ValueError("fpn_strides must double from level to level")
        if self.mask_branch_levels > len(self.fpn_strides):
            raise ValueError("mask_branch_levels exceeds the number of fpn_strides")
        if self.backbone == "small" and not {self.fpn_strides[0], *self.mask_branch_skips} <= {2, 4, 8, 16}:
            raise ValueError("the backbone small has maps of stride 2, 4, 8 and 16 only")
        stride = min((*self.mask_branch_skips, self.fpn_strides[0]))
        if stride % self.mask_out_stride:
            raise ValueError(f"mask_out_stride must divide the mask branch's stride {stride}")
        return self


class AutoLabeler(Section):
    """MAL's mask auto-labeler (arXiv 2301.03992): an encoder of box crops and a decoder to one mask each."""

    architecture: Literal["autolabeler"]
    backbone: str  # `small` (own network), or a timm name: plain ViT, Swin or ConvNeXt
    stem: Literal["patch", "conv"]  # of a ViT; conv is the release's, which starts at random
    crop_size: Annotated[int, Field(ge=32)]  # side of the square crops, in pixels
    decoder: Literal["attention", "fully_connected", "fully_convolutional", "query"]
    head_convs: Annotated[int, Field(ge=2)]  # of the pixel head
    hidden_channels: Positive
    out_channels: Positive
    scale_by_size: bool  # small, medium and large objects at half, one and two times the resolution
    size_limits: tuple[
        Rate, Rate
    ]  # box sides in image pixels: below the first is small, from the second on large
    size_ranges: Literal["half_open", "open"]  # open: as released, a box on a limit gets no mask
    output_scale: Positive  # side of the logits over side of the token grid
    pixel_mean: tuple[float, float, float]  # RGB, in 0..255
    pixel_std: tuple[Rate, Rate, Rate]


class MaskRCNN(Section):
    """Mask R-CNN (arXiv 1703.06870) with a pyramid; losses and heads are torchvision's."""

    architecture: Literal["mask_rcnn"]
    backbone: str
    frozen_stages: Annotated[int, Field(ge=0, le=5)]
    frozen_batchnorm: bool
    pixel_mean: tuple[float, float, float]  # RGB, in 0..255
    pixel_std: tuple[Rate, Rate, Rate]
    fpn_channels: Positive
    fpn_strides: tuple[Positive, ...]
    anchor_sizes: tuple[Rate, ...]  # side in pixels, one per level
    anchor_ratios: tuple[Rate, ...]
    rpn_pre_nms: Positive  # proposals per level before NMS, in training
    rpn_post_nms: Positive  # and after it
    rpn_batch: Positive  # anchors per image in the RPN's losses
    roi_batch: Positive  # proposals per image in the box losses
    box_pool: Positive  # side of the RoIAlign grid
    box_head_channels: Positive  # of the two fully connected layers
    mask_pool: Positive
    mask_head_channels: Positive
    mask_head_convs: Positive


Model = CondInst  # a union by `architecture` as soon as there is a second network


# --- training ---------------------------------------------------------------------------------------


class Augmentation(Section):
    """Training input: short side drawn from `short_sides`, long side at most `max_side`, flips."""

    short_sides: Annotated[tuple[Positive, ...], Field(min_length=1)]
    max_side: Positive
    horizontal_flip: Share
    vertical_flip: Share
    transpose: Share


class Training(Section):
    """The recipe of one method.  `steps` counts optimiser steps of `batch_size` images in total."""

    steps: Positive
    batch_size: Positive
    optimizer: Literal["sgd", "adamw"]
    learning_rate: Rate
    backbone_rate: Annotated[float, Field(gt=0)]  # factor on the learning rate of the backbone
    momentum: Share  # SGD's; ignored by AdamW
    weight_decay: Weight
    norm_weight_decay: Weight
    schedule: Literal["step", "cosine", "poly", "constant"]
    milestones: tuple[Positive, ...]  # steps at which "step" multiplies the rate by 0.1
    poly_power: Rate
    warmup_steps: Count
    warmup_start: Share  # first factor of the linear warm-up
    clip_norm: Weight  # 0 = no clipping
    ema: Annotated[float, Field(ge=0, lt=1)]  # momentum of averaged weights; 0 = off
    group_by_aspect: bool
    precision: Literal["auto", "fp32", "bf16"]  # auto: bf16 on a GPU that has it, else fp32
    workers: Count
    threads: Positive
    checkpoint_every: Positive
    log_every: Positive
    augmentation: Augmentation


class Supervised(Section):
    """CondInst on masks (or on pseudo-masks): dice loss on the proposals."""

    kind: Literal["supervised"]
    mask_weight: Weight
    max_proposals: int  # random positives per process; -1 = use topk_per_image instead
    topk_per_image: int  # best positives per image, shared by its objects; -1 = off
    train: Training

    @model_validator(mode="after")
    def _one_selection(self) -> Supervised:
        if (self.max_proposals > 0) == (self.topk_per_image > 0):
            raise ValueError("set exactly one of max_proposals and topk_per_image, the other to -1")
        return self


class BoxInst(Section):
    """BoxInst (arXiv 2012.02310): projection and colour-pairwise loss on boxes."""

    kind: Literal["boxinst"]
    projection_weight: Weight
    pairwise_weight: Weight
    pairwise_size: Annotated[int, Field(ge=3)]
    pairwise_dilation: Positive
    color_threshold: Share
    pairwise_warmup: Positive  # steps over which pairwise_weight grows linearly from 0
    bottom_pixels_removed: Count
    topk_per_image: Positive
    train: Training

    @model_validator(mode="after")
    def _fits_the_losses(self) -> BoxInst:
        if self.pairwise_size % 2 == 0:
            raise ValueError("pairwise_size must be odd")
        turned = self.train.augmentation.vertical_flip or self.train.augmentation.transpose
        if self.bottom_pixels_removed and turned:
            raise ValueError(
                "bottom_pixels_removed needs images that are upright: no vertical_flip, no transpose"
            )
        return self


class CropAugmentation(Section):
    """Training crops of MAL: expansion, flip; and what only the student sees: jitter, grey, blur."""

    expand_min: Weight  # of each side's margin, in half box sides
    expand_max: Weight
    horizontal_flip: Share
    jitter: tuple[Weight, Weight, Weight, Annotated[float, Field(ge=0, le=0.5)]]  # b, c, s, hue
    jitter_probability: Share
    grey_probability: Share
    blur_probability: Share
    blur_radius: tuple[Weight, Weight]  # standard deviation in pixels of the crop


class MeanField(Section):
    """The mean field that refines masks: section 6.3 of docs/methods/mal.md."""

    kernel: Annotated[int, Field(ge=3)]  # side of the window, odd
    zeta: Rate  # colour bandwidth, in normalised units
    iterations: Positive
    clamp: tuple[Share, Share]  # least and greatest probability of a message

    @model_validator(mode="after")
    def _is_a_mean_field(self) -> MeanField:
        if self.kernel % 2 == 0:
            raise ValueError("kernel must be odd")
        if not 0 < self.clamp[0] < self.clamp[1] < 1:
            raise ValueError("clamp must rise, strictly between 0 and 1")
        return self


class Mal(Section):
    """MAL, phase 1: multiple-instance and mean-field losses on crops round boxes."""

    kind: Literal["mal"]
    min_area: Weight  # square pixels of the box; smaller ones are not trained on
    max_area: Rate
    min_side: Weight  # boxes must be wider and higher than this; for pseudo-labels too
    test_expand: Weight  # margin of a crop in prediction, in box sides, both ends together
    mil_weight: Weight
    crf_weight: Weight
    mil_warmup: Count  # steps of the first epoch over which the weight grows from 0
    crf_warmup: Count
    mean_field: MeanField
    teacher_momentum: Annotated[float, Field(ge=0, lt=1)]
    teacher_start: Literal["copy", "own"]  # own: as released, independent random heads
    augmentation: CropAugmentation
    train: Training


Method = Annotated[Supervised | BoxInst, Field(discriminator="kind")]


# --- the comparison ---------------------------------------------------------------------------------


class Run(Section):
    """One row of the comparison: a model trained by a method on a label set."""

    title: Annotated[str, Field(min_length=1)]
    task: Literal["instances"]
    method: Literal["supervised", "boxinst"]  # the folder of pipeline/methods that the run depends on
    settings: Name  # the row of `methods`
    model: Name
    labels: Name
    backbone: Name
    oracle: Name  # the run that `retention` divides by; its own name for an oracle, `none` without one
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]


class Baseline(Section):
    """Boxes to masks without training, on the boxes that the run `detections` predicted."""

    title: Annotated[str, Field(min_length=1)]
    kind: Literal["fill", "grabcut"]
    detections: Name
    oracle: Name
    iterations: Count  # of GrabCut; 0 for fill
    processes: Positive


class Predict(Section):
    """Inference: input size, detection thresholds, limits."""

    short_side: Positive
    max_side: Positive
    score_threshold: Share
    nms_threshold: Share
    pre_nms_topk: Positive
    detections_per_image: Positive
    batch_size: Positive
    threads: Positive


class Evaluate(Section):
    """Evaluation: detection limit of AP, boundary width, bootstrap."""

    max_detections: Positive
    boundary_dilation: Share  # of the image diagonal
    bootstrap_samples: Annotated[int, Field(ge=100)]
    bootstrap_seed: Seed


class Report(Section):
    """What the page shows: its title and how many images of each kind the gallery has."""

    title: Annotated[str, Field(min_length=1)]
    gallery: Count


class Params(Section):
    """All of params.yaml."""

    benchmark: Name
    generate: dict[Name, Shapes]
    import_coco: dict[Name, CocoFolder]
    labels: dict[Name, Labels]
    backbones: dict[Name, Backbone]
    models: dict[Name, Model]
    methods: dict[Name, Method]
    runs: dict[Name, Run]
    baselines: dict[Name, Baseline]
    predict: Predict
    evaluate: Evaluate
    report: Report

    @model_validator(mode="after")
    def _references(self) -> Params:
        """Every name that a row mentions must exist, and rows that are compared must fit."""
        if len(self.generate) + len(self.import_coco) != 1:
            raise ValueError("generate and import_coco must have exactly one entry in total")
        derived = f"data/{self.benchmark}"
        for name, folder in self.import_coco.items():
            for key in ("train_json", "train_images", "val_json", "val_images"):
                if f"{getattr(folder, key)}/".startswith(f"{derived}/"):
                    raise ValueError(
                        f"import_coco.{name}.{key} lies in {derived}, where the benchmark's results go;"
                        " give the benchmark another name than the data's folder"
                    )
        if self.labels.get("val_boxes") != Labels(kind="boxes", split="val"):
            raise ValueError("labels.val_boxes must be {kind: boxes, split: val}: all runs predict in those")
        for name in sorted(self.runs.keys() & self.baselines.keys()):
            raise ValueError(f"{name} is both in runs and in baselines; rename one")
        for name, run in self.runs.items():
            self._check_run(name, run)
        for name, baseline in self.baselines.items():
            _known(f"baselines.{name}.detections", baseline.detections, self.runs)
            if baseline.oracle != "none":
                _known(f"baselines.{name}.oracle", baseline.oracle, self.runs)
        return self

    def _check_run(self, name: str, run: Run) -> None:
        if name == "none":
            raise ValueError("a run may not be called none: that word means no oracle")
        for key, table in (
            ("settings", self.methods),
            ("model", self.models),
            ("labels", self.labels),
            ("backbone", self.backbones),
        ):
            _known(f"runs.{name}.{key}", getattr(run, key), table)
        if run.oracle != "none":
            _known(f"runs.{name}.oracle", run.oracle, self.runs)
        if len(set(run.seeds)) != len(run.seeds):
            raise ValueError(f"runs.{name}.seeds names a seed twice")
        labels = self.labels[run.labels]
        if labels.split != "train":
            raise ValueError(f"runs.{name}.labels: {run.labels} is of the val split; train on train")
        if self.methods[run.settings].kind != run.method:
            raise ValueError(
                f"runs.{name}.settings: {run.settings} configures"
                f" {self.methods[run.settings].kind}, and the run's method is {run.method}"
            )
        needed = {"supervised": "masks", "boxinst": "boxes"}[run.method]
        if labels.kind != needed:
            raise ValueError(
                f"runs.{name}.labels: {run.labels} holds {labels.kind}, and {run.method} trains on {needed}"
            )
        model, start = self.models[run.model], self.backbones[run.backbone]
        if model.backbone != start.architecture:
            raise ValueError(
                f"runs.{name}.backbone: {run.backbone} is for {start.architecture},"
                f" and the model {run.model} has {model.backbone}"
            )


def _known(key: str, value: str, table: dict[str, Any]) -> None:
    if value not in table:
        raise ValueError(f"{key}: {value!r} is not defined; defined are {', '.join(sorted(table)) or 'none'}")
