"""What a run trains, and on which samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from pipeline import params
from pipeline.data.dataset import LabelledImages
from pipeline.data.images import ImageStore
from pipeline.engine.protocol import Trainable
from pipeline.engine.schedules import epochs_in_steps
from pipeline.labels.label_file import LabelFile
from pipeline.methods.box_teacher.views import TwoViews
from pipeline.methods.build import build_labeler, build_method
from pipeline.methods.mal.crops import BoxCrops
from pipeline.methods.mean_teacher.method import MeanTeacher
from pipeline.methods.mean_teacher.pairs import Pairs
from pipeline.weights import load_weights


def build_training(
    settings: params.Method,
    model: params.Model,
    store: ImageStore,
    labels: LabelFile,
    predict: params.Predict,
    seed: int,
    *,
    start: Path,
    unlabelled: Path,
    teacher: Path | None = None,
) -> tuple[Trainable[Any], Dataset[Any]]:
    """The method with its network, and its training samples.

    start: weights of the backbone; unlabelled: list of the images without labels, which only methods read
    that learn from such images; teacher: folder of the trained model that guides a burn-in.  Other weights
    are drawn from torch's global generator; `seed` drives the draws of method and samples.  Raises UserError
    for weights that do not fit, and for labels or images that there is nothing to learn from.
    """
    if isinstance(settings, params.Mal):
        assert isinstance(model, params.AutoLabeler)  # as the check of params.yaml says
        crops = BoxCrops(store, labels, settings, model.crop_size, seed)
        epoch_steps = epochs_in_steps(1, len(crops), settings.train.batch_size)
        return build_labeler(settings, model, epoch_steps, start), crops
    method = build_method(settings, model, len(labels.categories), predict, seed, start)
    if isinstance(method, MeanTeacher):
        if teacher is not None:
            load_weights(method.networks.teacher, teacher / "model.safetensors")
        return method, Pairs(store, labels, unlabelled, method.settings, seed, method.taught_from)
    if isinstance(settings, params.BoxTeacher):
        return method, TwoViews(store, labels, settings, seed)
    assert not isinstance(settings, params.MeanTeacher | params.GuidedDistillation)
    return method, LabelledImages(store, labels, settings.augmentation, seed)
