"""From params to a method: the one place that knows them all."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pipeline import params
from pipeline.engine.protocol import Method
from pipeline.methods.box_supervision.targets import box_centers, box_centroids
from pipeline.methods.box_teacher.method import BoxTeacher
from pipeline.methods.box_teacher.networks import BoxTeacherNetworks
from pipeline.methods.boxinst.method import BoxInst
from pipeline.methods.detection.condinst import CondInstSegmenter
from pipeline.methods.detection.mask_rcnn import MaskRCNNSegmenter
from pipeline.methods.detection.proposals import Choose, topk_per_box
from pipeline.methods.detection.segmenter import Size
from pipeline.methods.guided_distillation.method import GuidedDistillation
from pipeline.methods.mal.method import AutoLabelers, Mal
from pipeline.methods.mean_teacher.method import MeanTeacher
from pipeline.methods.mean_teacher.networks import TaughtMask2Former
from pipeline.methods.supervised.condinst import SupervisedCondInst
from pipeline.methods.supervised.detectron2.method import SupervisedDetectron2
from pipeline.methods.supervised.mask2former import SupervisedMask2Former
from pipeline.methods.supervised.mask_rcnn import SupervisedMaskRCNN
from pipeline.models.build import build_network, load_autolabeler


@dataclass(frozen=True)
class Parts:
    """What a method may be made of.  settings, model and network are of the types that its row names."""

    settings: Any
    model: Any
    network: Any
    num_classes: int
    predict: params.Predict
    seed: int


def _box_condinst(of: Parts, centers: Callable[[Tensor, Size], Tensor]) -> CondInstSegmenter:
    """centers: of boxes (N, 4) and the padded size, where their positive locations lie."""
    return CondInstSegmenter(
        of.model,
        of.num_classes,
        of.predict,
        centers=lambda target, size: centers(target.boxes.as_subclass(Tensor), size),
        choose=_best_of_each_box(of),
    )


def _box_mask_rcnn(of: Parts) -> MaskRCNNSegmenter:
    return MaskRCNNSegmenter(of.model, of.network.padding_divisor, choose=_best_of_each_box(of))


def _best_of_each_box(of: Parts) -> Choose:
    return lambda positives, step: topk_per_box(positives, of.settings.topk_per_image)


def _with_teacher(of: Parts) -> BoxTeacherNetworks:
    return BoxTeacherNetworks(of.network, copy.deepcopy(of.network), of.settings.teacher_statistics)


# By the kind of the method and the architecture of the network: what params.ARCHITECTURES allows.
METHODS: Mapping[tuple[str, str], Callable[[Parts], Method[Any]]] = {
    ("supervised", "condinst"): lambda of: SupervisedCondInst(
        of.settings, of.network, of.model, of.num_classes, of.predict, of.seed
    ),
    ("supervised", "mask_rcnn"): lambda of: SupervisedMaskRCNN(of.settings, of.network, of.model),
    ("supervised", "mask2former"): lambda of: SupervisedMask2Former(
        of.settings, of.network, of.model, of.predict
    ),
    ("supervised", "detectron2"): lambda of: SupervisedDetectron2(of.settings, of.network),
    ("boxinst", "condinst"): lambda of: BoxInst(of.settings, of.network, _box_condinst(of, box_centroids)),
    ("boxinst", "mask_rcnn"): lambda of: BoxInst(of.settings, of.network, _box_mask_rcnn(of)),
    ("box_teacher", "condinst"): lambda of: BoxTeacher(
        of.settings, _with_teacher(of), _box_condinst(of, box_centers)
    ),
    ("box_teacher", "mask_rcnn"): lambda of: BoxTeacher(of.settings, _with_teacher(of), _box_mask_rcnn(of)),
    ("mean_teacher", "mask2former"): lambda of: MeanTeacher(
        of.settings, TaughtMask2Former(of.network, copy.deepcopy(of.network)), of.model, of.predict
    ),
    ("guided_distillation", "mask2former"): lambda of: GuidedDistillation(
        of.settings, TaughtMask2Former(of.network, copy.deepcopy(of.network)), of.model, of.predict
    ),
}


def build_method(
    settings: params.Method,
    model: params.Model,
    num_classes: int,
    predict: params.Predict,
    seed: int,
    start: Path | None = None,
) -> Method[Any]:
    """Build the network, its backbone from the weights in `start`, and the method that trains it.

    Other weights are drawn from torch's global generator; `seed` drives the draws of the method itself.
    Raises UserError for weights that do not fit.
    """
    network = build_network(model, num_classes, predict, start)
    build = METHODS[settings.kind, model.architecture]
    return build(Parts(settings, model, network, num_classes, predict, seed))


def build_labeler(
    settings: params.Mal, model: params.AutoLabeler, epoch_steps: int, start: Path | None = None
) -> Mal:
    """Build MAL's student and teacher, their encoders from the weights in `start`.

    epoch_steps: of the first epoch of its training.  Other weights are drawn from torch's global generator.
    Raises UserError for weights that do not fit.
    """
    student = load_autolabeler(model, start)
    own = settings.teacher_start == "own"
    teacher = load_autolabeler(model, start) if own else copy.deepcopy(student)
    return Mal(settings, AutoLabelers(student, teacher), epoch_steps)
