"""Maps of a classifier: scales, mirror, normalisation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline import params
from pipeline.methods.cam.inference import activation_maps, normalised, stored_size
from pipeline.methods.cam.packs import equal_sizes
from pipeline.models.classifier import TagClassifier, build_classifier
from tests.methods.cam.tag_labels import SIZES, classifier_settings, tag_labels


@pytest.fixture(scope="module")
def classifier() -> TagClassifier:
    torch.manual_seed(0)
    return build_classifier(classifier_settings(), 3).eval()


def inference(**changes: object) -> params.CamInference:
    values = {"scales": (1.0,), "mirror": False, "stride": 4, "batch_size": 2, "threads": 1}
    return params.CamInference.model_validate(values | changes)


def maps(classifier: TagClassifier, images: torch.Tensor, **changes: object) -> torch.Tensor:
    with torch.inference_mode():
        return activation_maps(classifier, images, inference(**changes))


def pictures(*size: int) -> torch.Tensor:
    values = np.random.default_rng(0).integers(0, 256, (2, 3, *size), dtype=np.uint8)
    return torch.from_numpy(values)


def test_at_one_scale_and_the_stride_of_the_map_it_is_the_class_map(classifier: TagClassifier) -> None:
    images = pictures(24, 32)
    with torch.inference_mode():
        expected = classifier.class_maps(images)
    assert torch.equal(maps(classifier, images), expected)
    assert expected.any()


def test_maps_of_the_mirror_image_are_mirrored_back(classifier: TagClassifier) -> None:
    images = pictures(24, 32)
    both = maps(classifier, images, mirror=True)
    torch.testing.assert_close(both, maps(classifier, images.flip(-1), mirror=True).flip(-1))
    alone = maps(classifier, images)
    torch.testing.assert_close(both - alone, maps(classifier, images.flip(-1)).flip(-1))


def test_scales_add_up(classifier: TagClassifier) -> None:
    images = pictures(24, 32)
    together = maps(classifier, images, scales=(1.0, 0.5, 1.5))
    alone = [maps(classifier, images, scales=(scale,)) for scale in (1.0, 0.5, 1.5)]
    torch.testing.assert_close(together, sum(alone))


@pytest.mark.parametrize("stride", [1, 4, 5])
def test_maps_have_the_stored_size(classifier: TagClassifier, stride: int) -> None:
    size = (-(-30 // stride), -(-41 // stride))
    assert stored_size((30, 41), stride) == size
    assert maps(classifier, pictures(30, 41), stride=stride).shape == (2, 3, *size)


def test_an_image_has_the_same_maps_alone(classifier: TagClassifier) -> None:
    images = pictures(24, 32)
    torch.testing.assert_close(maps(classifier, images)[1:], maps(classifier, images[1:]))


@given(seed=st.integers(0, 99), scale=st.sampled_from([1e-3, 1.0, 1e3]))
def test_each_map_is_divided_by_its_own_maximum(seed: int, scale: float) -> None:
    values = scale * torch.rand(4, 3, 5, generator=torch.Generator().manual_seed(seed))
    made = normalised(values, (1, 4))
    assert made.shape == (2, 3, 5)
    for own, source in zip(made, (values[0], values[3]), strict=True):
        torch.testing.assert_close(own, source / (source.max() + 1e-5))
    assert made.max() <= 1


def test_nothing_is_made_of_nothing() -> None:
    assert normalised(torch.zeros(2, 3, 3), (2,)).tolist() == torch.zeros(1, 3, 3).tolist()
    assert normalised(torch.ones(2, 3, 3), ()).shape == (0, 3, 3)


def test_batches_hold_images_of_one_size(tmp_path: Path) -> None:
    labels = tag_labels(tmp_path)
    assert equal_sizes(labels, 2) == [[1, 3], [5], [2], [4]]
    for count in (1, 3):
        batches = equal_sizes(labels, count)
        assert sorted(key for batch in batches for key in batch) == sorted(SIZES)
        assert all(len({SIZES[key] for key in batch}) == 1 and len(batch) <= count for batch in batches)
