"""The procedural dataset: repeatable, disjoint, and hard in the ways it claims to be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import params
from pipeline.data.images import ImageStore
from pipeline.data.masks import decode
from pipeline.data.shapes.dataset import generate, generate_split
from pipeline.data.shapes.outlines import class_names, coverage, random_outline
from pipeline.data.shapes.scene import (
    LEAST_PIXELS,
    REFERENCE_SIDE,
    Scene,
    generate_scene,
    generate_single,
)


def shapes(**changes: object) -> params.Shapes:
    values = {"train": 6, "val": 3, "size": 48, "seed": 0, "hard": False, "processes": 1}
    return params.Shapes.model_validate(values | changes)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [generate_scene((0, 1, index), 96, False) for index in range(60)]


def bounding_boxes(masks: np.ndarray) -> np.ndarray:
    """Boolean masks of the bounding boxes of (N, H, W) masks."""
    return masks.any(axis=1)[:, None, :] & masks.any(axis=2)[:, :, None] & _spans(masks)


def _spans(masks: np.ndarray) -> np.ndarray:
    result = np.zeros_like(masks)
    for span, mask in zip(result, masks, strict=True):
        rows, columns = np.where(mask)
        span[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    return result


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.sampled_from([32, 64, 97, 192]), hard=st.booleans())
def test_scene_is_well_formed(seed: int, size: int, hard: bool) -> None:
    scene = generate_scene((seed, 0, 0), size, hard)
    assert scene.image.shape == (size, size, 3)
    assert scene.image.dtype == np.uint8
    assert scene.masks.shape == (len(scene.labels), size, size)
    assert 1 <= len(scene.labels) <= 5
    assert set(scene.labels) <= set(range(len(class_names(hard))))
    assert scene.masks.sum(axis=0).max() == 1, "visible masks do not overlap"
    assert scene.masks.sum(axis=(1, 2)).min() >= LEAST_PIXELS * (size / REFERENCE_SIDE) ** 2


def test_scene_repeats_and_differs_between_seeds() -> None:
    first, again = generate_scene((3, 0, 1), 64, True), generate_scene((3, 0, 1), 64, True)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.masks, again.masks)
    for other in ((4, 0, 1), (3, 1, 1), (3, 0, 2)):
        assert (generate_scene(other, 64, True).image != first.image).any()


def test_scenes_have_the_sizes_and_counts_they_should(scenes: list[Scene]) -> None:
    counts = [len(scene.labels) for scene in scenes]
    areas = np.concatenate([bounding_boxes(scene.masks).sum(axis=(1, 2)) for scene in scenes])
    assert 3.2 < np.mean(counts) < 3.9
    assert min(counts) >= 2
    assert 24 < np.median(np.sqrt(areas)) < 30


def test_objects_do_not_fill_their_boxes(scenes: list[Scene]) -> None:
    shares = np.concatenate(
        [scene.masks.sum(axis=(1, 2)) / bounding_boxes(scene.masks).sum(axis=(1, 2)) for scene in scenes]
    )
    assert 0.48 < shares.mean() < 0.60


def test_color_alone_does_not_tell_the_object(scenes: list[Scene]) -> None:
    """Noise and texture: neighbours within an object differ by more than rounding."""
    contrasts = []
    for scene in scenes:
        gray = scene.image.astype(float).mean(axis=2)
        for mask in scene.masks:
            pairs = mask[:, 1:] & mask[:, :-1]
            contrasts.append(np.abs(np.diff(gray, axis=1))[pairs].mean())
    assert np.median(contrasts) > 5


@pytest.mark.parametrize("name", class_names(hard=True))
def test_outlines_stay_in_the_unit_circle_and_have_an_area(name: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        contours = random_outline(name, rng)
        assert max(np.linalg.norm(contour, axis=1).max() for contour in contours) <= 1 + 1e-9
        covered = coverage([contour * 30 + 32 for contour in contours], 64)
        assert 0.15 < (covered >= 0.5).sum() / (np.pi * 30**2) < 0.95


def test_coverage_is_the_area_of_each_pixel() -> None:
    square = np.array([(1.0, 1.0), (3.5, 1.0), (3.5, 3.0), (1.0, 3.0)])
    covered = coverage([square], 5)
    expected = np.zeros((5, 5))
    expected[1:3, 1:3], expected[1:3, 3] = 1, 0.5
    # OpenCV also fills the sub-pixels that the outline runs through.
    np.testing.assert_allclose(covered, expected, atol=0.45)
    np.testing.assert_allclose(covered.sum(), 5, rtol=0.25)


def test_a_ring_has_a_hole() -> None:
    contours = random_outline("ring", np.random.default_rng(1))
    assert coverage([contour * 20 + 32 for contour in contours], 64)[32, 32] == 0


def test_hard_scenes_have_the_two_hollow_classes() -> None:
    labels = np.concatenate([generate_scene((0, 0, index), 48, True).labels for index in range(40)])
    assert set(labels) == set(range(6))


def test_single_objects_are_central_and_whole() -> None:
    for index in range(10):
        scene = generate_single((0, 2, index), 64, False)
        assert scene.masks.shape == (1, 64, 64)
        rows, columns = np.where(scene.masks[0])
        assert abs(rows.mean() - 32) < 20
        assert abs(columns.mean() - 32) < 20


def test_more_processes_draw_the_same() -> None:
    one = list(generate_split(shapes(), "train", 20))
    two = list(generate_split(shapes(processes=2), "train", 20))
    assert one == two


def test_splits_share_no_image_and_grow_at_the_end() -> None:
    train = [data for data, _ in generate_split(shapes(), "train", 8)]
    val = [data for data, _ in generate_split(shapes(), "val", 8)]
    assert not set(train) & set(val)
    assert [data for data, _ in generate_split(shapes(), "train", 3)] == train[:3]


def test_generate_writes_what_it_draws(tmp_path: Path) -> None:
    summary = generate(shapes(), tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    store = ImageStore.open(tmp_path / "val")
    coco = json.loads((tmp_path / "annotations" / "val.json").read_text())
    assert [category["name"] for category in coco["categories"]] == ["ellipse", "polygon", "star", "L"]
    for index, record in enumerate(store.records):
        scene = generate_scene((0, 1, index), 48, False)
        np.testing.assert_array_equal(store.read(record.id), scene.image)
        rows = [row for row in coco["annotations"] if row["image_id"] == record.id]
        np.testing.assert_array_equal(decode([row["segmentation"] for row in rows], (48, 48)), scene.masks)
        assert [row["category_id"] for row in rows] == (scene.labels + 1).tolist()
        assert [row["area"] for row in rows] == scene.masks.sum(axis=(1, 2)).tolist()
    assert summary["splits"]["train"]["images"] == 6


def test_generate_writes_equal_bytes_again(tmp_path: Path) -> None:
    generate(shapes(), tmp_path / "a")
    generate(shapes(processes=2), tmp_path / "b")
    names = sorted(file.relative_to(tmp_path / "a") for file in (tmp_path / "a").rglob("*") if file.is_file())
    assert len(names) == 7
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_annotation_ids_are_unique_and_in_order(tmp_path: Path) -> None:
    generate(params.Shapes(train=6, val=2, size=48, seed=0, hard=False, processes=1), tmp_path)
    annotations = json.loads((tmp_path / "annotations" / "train.json").read_text())["annotations"]
    assert [annotation["id"] for annotation in annotations] == list(range(1, len(annotations) + 1))
