"""The presets of BoxTeacher: the published recipe on COCO, and this project's own on VOC and Cityscapes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.params import BoxInst, BoxTeacher, CondInst, Params, Supervised
from pipeline.params_file import load_params
from pipeline.workflow.dag import find_leaks, read_dag
from tests.workflow.repository import copy_pipeline

PRESETS = {"coco-boxteacher": 118_287, "voc-boxteacher": 10_582, "cityscapes-boxteacher": 2975}  # images
CONTENT = {  # of COCO's rows of BoxTeacher: model, settings
    "coco_boxteacher_r50_1x": ("condinst_r50", "box_teacher_1x"),
    "coco_boxteacher_r50_3x": ("condinst_r50", "box_teacher_3x"),
    "coco_boxteacher_r101_3x": ("condinst_r101", "box_teacher_3x"),
    "coco_boxteacher_r101_dcn_3x": ("condinst_r101_dcn", "box_teacher_3x"),
    "coco_boxteacher_swin_b_3x": ("condinst_swin_b", "box_teacher_swin_3x"),
}


@pytest.fixture(scope="module", params=PRESETS)
def preset(request: pytest.FixtureRequest, root: Path) -> tuple[str, Params]:
    return request.param, load_params(root / "presets" / f"{request.param}.yaml")


@pytest.fixture(scope="module")
def coco(root: Path) -> Params:
    return load_params(root / "presets" / "coco-boxteacher.yaml")


def teachers(params: Params) -> list[BoxTeacher]:
    return [row for row in params.methods.values() if isinstance(row, BoxTeacher)]


def test_constants_are_the_released_ones(preset: tuple[str, Params]) -> None:
    _, params = preset
    assert teachers(params)
    for row in teachers(params):
        assert (row.projection_weight, row.pairwise_weight, row.topk_per_image) == (1.0, 1.0, 64)
        assert (row.pairwise_size, row.pairwise_dilation, row.color_threshold) == (3, 2, 0.3)
        assert (row.teacher_momentum, row.teacher_statistics, row.teacher_mask) == (0.999, "batch", "binary")
        assert (row.iou_threshold, row.score_threshold, row.normalize_by) == (0.5, 0.0, "count")
        assert (row.pseudo_mask_weight, row.affinity_weight, row.affinity_threshold) == (0.5, 0.1, 0.5)
        assert row.mean_projection_weight == 0.0
        assert not row.reassign_first
        assert row.disturbance.jitter == (0.4, 0.4, 0.4, 0.1)
        assert (row.disturbance.jitter_probability, row.disturbance.grey_probability) == (0.8, 0.2)
        assert (row.teacher.short_side, row.teacher.max_side) == (
            params.predict.short_side,
            params.predict.max_side,
        )


def test_the_strip_at_the_bottom_is_cocos(preset: tuple[str, Params]) -> None:
    name, params = preset
    rows = [row for row in params.methods.values() if isinstance(row, BoxTeacher | BoxInst)]
    assert {row.bottom_pixels_removed for row in rows} == {10 if name.startswith("coco") else 0}


def test_methods_of_a_preset_are_trained_alike_but_for_the_decay_of_norms(
    preset: tuple[str, Params],
) -> None:
    _, params = preset
    for name, run in params.runs.items():
        if run.method != "box_teacher":
            continue
        own, oracle = (params.methods[params.runs[row].settings] for row in (name, run.oracle))
        assert own.train.norm_weight_decay == own.train.weight_decay
        spared = 0.0 if own.train.optimizer == "sgd" else own.train.weight_decay
        assert own.train.model_copy(update={"norm_weight_decay": spared}) == oracle.train
        assert own.augmentation == oracle.augmentation


def test_each_row_has_an_oracle_of_its_own_network(preset: tuple[str, Params]) -> None:
    _, params = preset
    for run in params.runs.values():
        oracle = params.runs[run.oracle]
        assert isinstance(params.methods[oracle.settings], Supervised)
        assert oracle.labels == "masks"
        assert run.labels == ("masks" if run is oracle else "boxes")
        assert (oracle.model, oracle.backbone) == (run.model, run.backbone)
        train, other = (params.methods[row.settings].train for row in (run, oracle))
        assert (train.steps, train.milestones) == (other.steps, other.milestones)


def test_the_masks_of_every_teacher_are_measured(preset: tuple[str, Params]) -> None:
    _, params = preset
    rows = {name for name, run in params.runs.items() if run.method == "box_teacher"}
    assert set(params.pseudo_mask_quality) == rows


def test_no_run_on_boxes_reaches_a_mask(root: Path, tmp_path: Path, preset: tuple[str, Params]) -> None:
    name, params = preset
    copy_pipeline(root, tmp_path)
    shutil.copy(root / "presets" / f"{name}.yaml", tmp_path / "params.yaml")
    assert find_leaks(read_dag(tmp_path), params) == []


def test_schedules_of_coco_are_the_released_ones(coco: Params) -> None:
    for row in coco.methods.values():
        train = row.train
        long = train.steps != 90_000
        assert train.steps == (270_000 if long else 90_000)
        assert train.milestones == ((210_000, 250_000) if long else (60_000, 80_000))
        assert (train.schedule, train.batch_size, train.warmup_steps) == ("step", 16, 1000)
        assert (train.warmup_start, train.clip_norm, train.backbone_rate) == (0.001, 0.0, 1.0)
        assert row.augmentation.short_sides == (640, 672, 704, 736, 768, 800)
        assert (row.augmentation.max_side, row.augmentation.horizontal_flip) == (1333, 0.5)
        rates = (train.optimizer, train.learning_rate, train.weight_decay)
        assert rates in (("sgd", 0.01, 0.0001), ("adamw", 0.0001, 0.05))
        if isinstance(row, BoxTeacher):
            assert row.warmup == 10_000
            assert row.disturbance.blur_probability == (0.5 if long else 0.0)
    runs = {key: (run.model, run.settings) for key, run in coco.runs.items() if run.method == "box_teacher"}
    assert runs == CONTENT


def test_networks_of_coco_are_the_released_ones(coco: Params) -> None:
    models = {name: model for name, model in coco.models.items() if isinstance(model, CondInst)}
    assert {name: model.deformable_stages for name, model in models.items() if model.deformable_stages} == {
        "condinst_r101_dcn": (3, 4, 5)
    }
    assert {name: model.drop_path for name, model in models.items() if model.drop_path} == {
        "condinst_swin_b": 0.2
    }
    assert models["condinst_swin_b"].backbone.startswith("swin_base_patch4_window7_224.")
    for model in models.values():
        assert (model.frozen_stages, model.mask_features, model.mask_branch_channels) == (2, 16, 128)
        assert (model.fpn_channels, model.head_convs, model.mask_out_stride) == (256, 4, 4)
        assert model.fpn_strides == (8, 16, 32, 64, 128)


@pytest.mark.parametrize("name", ["voc-boxteacher", "cityscapes-boxteacher"])
def test_a_schedule_of_our_own_is_said(root: Path, name: str) -> None:
    recipes = (root / "docs" / "recipes.md").read_text(encoding="utf-8")
    params = load_params(root / "presets" / f"{name}.yaml")
    for row in params.methods.values():
        train = row.train
        words = (f"{train.steps:,} steps of {train.batch_size} images", f"SGD {train.learning_rate}")
        for text in (*words, *(f"{step:,}" for step in train.milestones)):
            assert text in recipes
        assert f"{train.steps * train.batch_size / PRESETS[name]:.0f} epochs" in recipes
        ramp = row.warmup if isinstance(row, BoxTeacher) else getattr(row, "pairwise_warmup", 2700)
        assert ramp == pytest.approx(train.steps / 9, rel=0.02)  # as 10,000 of 90,000
        assert f"{ramp:,}" in recipes
