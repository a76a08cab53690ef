"""The presets of Guided Distillation: the published recipe, and this project's own steps at a share."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from pipeline.labels.draws import split_size
from pipeline.params import GuidedDistillation, MeanTeacher, Params, Supervised
from pipeline.params_file import load_params

PRESETS = {"coco-guided": 368_750, "cityscapes-guided": 90_000}  # steps on all masks, as published


@pytest.fixture(scope="module", params=PRESETS)
def preset(request: pytest.FixtureRequest, root: Path) -> tuple[Params, int]:
    return load_params(root / "presets" / f"{request.param}.yaml"), PRESETS[request.param]


def supervised(params: Params, run: str) -> Supervised:
    settings = params.methods[params.trained[run].settings]
    assert isinstance(settings, Supervised)
    return settings


def test_both_taught_methods_have_the_released_constants(preset: tuple[Params, int]) -> None:
    params, steps = preset
    taught = [row for row in params.methods.values() if isinstance(row, GuidedDistillation | MeanTeacher)]
    assert len(taught) == 2
    for row in taught:
        assert (row.burn_in, row.teacher_momentum, row.unlabelled_weight) == (50_000, 0.9996, 2.0)
        assert (row.pseudo_masks.class_threshold, row.pseudo_masks.area_threshold) == (0.7, 5.0)
        assert (row.train.steps, row.train.repeat_threshold) == (steps, 10.0)


def test_every_training_has_mask2formers_recipe(preset: tuple[Params, int]) -> None:
    params, full = preset
    for row in params.methods.values():
        train = row.train
        assert (train.optimizer, train.learning_rate, train.backbone_rate) == ("adamw", 1e-4, 0.1)
        assert (train.weight_decay, train.norm_weight_decay, train.clip_norm) == (0.05, 0.0, 0.01)
        assert (train.batch_size, train.warmup_steps) == (16, 0)
        if train.schedule == "step":
            assert train.milestones == pytest.approx((train.steps * 8 / 9, train.steps * 26 / 27), abs=1)
        else:
            assert (train.schedule, train.poly_power, full) == ("poly", 0.9, 90_000)
    for model in params.models.values():
        assert (model.queries, model.decoder_layers, model.losses.points) == (100, 9, 12_544)


def test_images_are_changed_as_in_the_release(preset: tuple[Params, int]) -> None:
    params, full = preset
    for row in params.methods.values():
        seen = row.augmentation
        assert (seen.horizontal_flip, seen.vertical_flip, seen.transpose) == (0.5, 0.0, 0.0)
        if full == PRESETS["coco-guided"]:  # large-scale jitter
            assert (seen.short_sides, seen.max_side, seen.scale_range) == ((1024,), 1024, (0.1, 2.0))
            assert (seen.crop, seen.pad_value, seen.colors) == ((1024, 1024), 128, "as_they_are")
        else:
            assert seen.short_sides == tuple(1024 * tenths // 10 for tenths in range(5, 21))
            assert (seen.max_side, seen.scale_range) == (4096, (1.0, 1.0))
            assert (seen.crop, seen.colors) == ((512, 1024), "ssd")
        if isinstance(row, GuidedDistillation | MeanTeacher):
            strong = row.disturbance
            assert (strong.jitter, strong.jitter_probability) == ((0.4, 0.4, 0.4, 0.1), 0.8)
            assert (strong.grey_probability, strong.blur_probability) == (0.2, 0.5)
            assert strong.blur_radius == (0.1, 2.0)


def test_networks_are_as_published(preset: tuple[Params, int]) -> None:
    params, full = preset
    for model in params.models.values():
        losses = model.losses
        assert (losses.class_weight, losses.mask_weight, losses.dice_weight) == (2.0, 5.0, 5.0)
        assert (losses.no_object_weight, losses.oversample, losses.importance) == (0.1, 3.0, 0.75)
        assert model.drop_path == (0.3 if "swin" in model.backbone else 0.0)
        assert model.frozen_batchnorm == ("resnet" in model.backbone and full == PRESETS["coco-guided"])


def test_each_share_has_a_row_of_each_kind_that_fits(preset: tuple[Params, int]) -> None:
    params, _ = preset
    pairs = {(row.model, row.labels) for row in params.distilled.values()}
    assert pairs == {(model, labels) for model in params.models for labels in params.splits}
    for row in params.distilled.values():
        teacher = params.runs[row.teacher]
        assert (teacher.method, teacher.labels, teacher.model, teacher.oracle) == (
            "supervised",
            row.labels,
            row.model,
            row.oracle,
        )
        assert params.runs[row.oracle].labels == "masks"
    means = {row.labels for row in params.runs.values() if row.method == "mean_teacher"}
    assert means == set(params.splits)


def test_steps_at_a_share_are_those_of_all_masks_times_its_root(
    preset: tuple[Params, int], root: Path
) -> None:
    params, full = preset
    recipes = (root / "docs" / "recipes.md").read_text(encoding="utf-8")
    for row in params.distilled.values():
        share = params.splits[row.labels].percent / 100
        steps = supervised(params, row.teacher).train.steps
        assert steps == pytest.approx(full * math.sqrt(share), abs=250)
        assert f"{steps:,}" in recipes
    assert supervised(params, next(iter(params.distilled.values())).oracle).train.steps == full


def test_shares_of_cityscapes_are_the_published_ones(root: Path) -> None:
    splits = load_params(root / "presets" / "cityscapes-guided.yaml").splits.values()
    assert [row.percent for row in splits] == [5.0, 10.0, 20.0, 30.0]


def test_shares_of_coco_are_the_published_ones(root: Path) -> None:
    splits = load_params(root / "presets" / "coco-guided.yaml").splits.values()
    assert {(row.rule, row.pool) for row in splits} == {("uniform", "all")}
    assert [split_size(row.percent, 118_287) for row in splits] == [473, 1182, 2365, 5914, 11_828]


def test_rows_for_own_data_are_trained_alike_but_for_what_the_methods_differ_in(root: Path) -> None:
    params = load_params(root / "presets" / "coco-folder-guided.yaml")
    taught = [row for row in params.methods.values() if isinstance(row, GuidedDistillation | MeanTeacher)]
    alone = next(row for row in params.methods.values() if isinstance(row, Supervised))
    assert {type(row) for row in taught} == {GuidedDistillation, MeanTeacher}
    for row in taught:
        assert row.train.model_copy(update={"repeat_threshold": 0.0}) == alone.train
        assert row.augmentation == alone.augmentation
        assert row.burn_in < row.train.steps
    first, second = (row.model_dump(exclude={"kind"}) for row in taught)
    assert first == second
    guided = params.distilled["folder_guided_10"]
    assert guided.labels == params.runs[guided.teacher].labels == params.runs["folder_mean_teacher_10"].labels
