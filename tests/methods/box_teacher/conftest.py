"""The published settings, a student and a teacher of the end-to-end vectors, and a batch of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torchvision.tv_tensors import Image

from pipeline import params
from pipeline.methods.box_teacher.method import BoxTeacher
from pipeline.methods.box_teacher.networks import BoxTeacherNetworks
from pipeline.methods.box_teacher.views import LabelledViews
from pipeline.methods.build import METHODS, Parts
from pipeline.models.condinst import CondInstHeads
from pipeline.structures import Sample, Target, boxes_xyxy
from tests.condinst_vectors import GivenPyramid, reference_state

Load = Callable[..., dict[str, torch.Tensor]]
Build = Callable[..., BoxTeacher]


@pytest.fixture(scope="session")
def load(load_box_teacher: Load) -> Load:
    """Arrays of one of BoxTeacher's vector files, or those of one of its cases."""
    return load_box_teacher


@pytest.fixture(scope="session")
def released(published: params.BoxInst) -> params.BoxTeacher:
    """The release's R-50 1x settings on COCO."""
    shared = published.model_dump(exclude={"kind", "pairwise_warmup"})
    return params.BoxTeacher(
        **shared,
        kind="box_teacher",
        warmup=10_000,
        teacher_momentum=0.999,
        teacher=params.TeacherView(short_side=800, max_side=1333),
        teacher_statistics="batch",
        teacher_mask="binary",
        iou_threshold=0.5,
        score_threshold=0.0,
        reassign_first=True,
        pseudo_mask_weight=0.5,
        affinity_weight=0.1,
        affinity_threshold=0.5,
        mean_projection_weight=0.0,
        normalize_by="count",
        disturbance=params.Disturbance(
            jitter=(0.4, 0.4, 0.4, 0.1),
            jitter_probability=0.8,
            grey_probability=0.2,
            blur_probability=0.0,
            blur_radius=(0.0, 0.8),
        ),
    )


@pytest.fixture
def build(
    load: Load,
    tiny_model: params.CondInst,
    released: params.BoxTeacher,
    predict_settings: params.Predict,
    monkeypatch: pytest.MonkeyPatch,
) -> Build:
    """The method on the networks of the end-to-end vectors, whose teacher stays as it is stored.

    `changes` are of the settings.
    """
    monkeypatch.setattr(BoxTeacherNetworks, "update_teacher", lambda *_: None)
    pyramids = {
        "student": load("end_to_end_student_features"),
        "teacher": load("end_to_end_inputs"),
    }

    def make(**changes: object) -> BoxTeacher:
        networks = []
        for name, arrays in pyramids.items():
            heads = CondInstHeads(tiny_model, 5, {})
            heads.load_state_dict(reference_state(load(f"end_to_end_{name}_weights")))
            network = GivenPyramid(heads)
            network.pyramid = [arrays[f"{name}_p{level}"].clone() for level in range(3, 8)]
            networks.append(network)
        largest, shortest = load("end_to_end_inputs")["teacher_max_min_size"].tolist()
        view = params.TeacherView(short_side=shortest, max_side=largest)
        settings = released.model_copy(update={"teacher": view} | changes)
        method = METHODS["box_teacher", "condinst"](
            Parts(settings, tiny_model, networks[0], 5, predict_settings, 0)
        )
        assert isinstance(method, BoxTeacher)
        method.networks.teacher = networks[1].requires_grad_(False)
        method.module.train()
        return method

    return make


@pytest.fixture
def batch(load: Load) -> list[LabelledViews]:
    """The two images of the end-to-end vectors.  The student's features are given, whatever it sees."""
    arrays = load("end_to_end_inputs")
    views = []
    for index in range(2):
        image = Image(arrays[f"image_bgr_{index}"].flip(0))
        boxes = boxes_xyxy(arrays[f"boxes_{index}"], tuple(image.shape[1:]))
        original = tuple(arrays[f"original_hw_{index}"].tolist())
        classes = arrays[f"classes_{index}"]
        target = Target(boxes, classes, annotation_ids=torch.arange(len(classes)))
        sample = Sample(image, target, index, original)
        views.append(LabelledViews(sample, image.as_subclass(torch.Tensor), (index, index)))
    return views
