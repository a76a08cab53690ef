from __future__ import annotations

import pytest
import torch

from pipeline.data.label_codes import UNLABELLED, VOID
from pipeline.methods.spml.features import location_features
from pipeline.methods.spml.segments import Clustering, make_segments

CPU = torch.device("cpu")
CASES = (
    "full",
    "image_all_ignored",
    "one_cluster",
    "no_iterations",
    "single_segment",
    "nolabels",
)


def segments_of(arrays, grid, iterations, embedding):
    images, _, height, width = embedding.shape
    none = torch.zeros(images, height, width, dtype=torch.int64)
    return make_segments(
        embedding,
        arrays.get("semantic", none),
        arrays.get("instance", none),
        location_features(height, width, CPU),
        Clustering(grid, iterations),
    )


@pytest.mark.parametrize("case", CASES)
def test_segments_match_the_release(load, case):
    arrays = load(f"segments_{case}")
    embedding = arrays["embedding"].requires_grad_()
    grid = tuple(arrays["clusters"].tolist())
    segments = segments_of(arrays, grid, int(arrays["iterations"]), embedding)
    assert torch.equal(segments.own, arrays["cluster_index"])
    for name, expected in (
        ("image", "cluster_batch_index"),
        ("label", "cluster_semantic_label"),
        ("region", "cluster_instance_label"),
    ):
        assert torch.equal(getattr(segments, name)[segments.own], arrays[expected])
    tolerance = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(segments.embeddings, arrays["cluster_embedding"], **tolerance)
    torch.testing.assert_close(segments.joint, arrays["cluster_embedding_with_loc"], **tolerance)
    slope = torch.autograd.grad((segments.joint * arrays["weight"]).sum(), embedding)[0]
    torch.testing.assert_close(slope, arrays["grad_embedding"], rtol=1e-3, atol=1e-6)


def test_cutting_matches_the_release(load):
    """The vector cuts clusters of one image by class alone."""
    arrays = load("kmeans")
    embedding = arrays["embeddings"].T[None, :, None]
    segments = make_segments(
        embedding,
        arrays["split_semantic"][None, None],
        torch.zeros(1, 1, 600, dtype=torch.int64),
        torch.zeros(1, 600, 0),
        Clustering((1, 1), 0),
    )
    assert torch.equal(segments.label, torch.arange(4))
    clusters = arrays["labels_after_10"]
    keys = clusters * 256 + arrays["split_semantic"]
    distinct, own = torch.unique(keys, return_inverse=True)
    assert torch.equal(own, arrays["split_cluster"])
    assert torch.equal(distinct % 256, arrays["split_prototype_labels"])


@pytest.mark.parametrize("case", ["objective", "objective_memory"])
def test_segments_of_the_objective_match_the_release(load, case):
    arrays = load(case)
    segments = segments_of(arrays, (4, 4), 10, arrays["embedding"])
    assert torch.equal(segments.own, arrays["cluster_index"])
    for name, expected in (("image", "batch"), ("label", "semantic"), ("region", "instance")):
        assert torch.equal(getattr(segments, name), arrays[f"prototype_{expected}"])
        assert torch.equal(getattr(segments, name)[segments.own], arrays[f"cluster_{expected}"])
    torch.testing.assert_close(segments.prototypes, arrays["prototype"], rtol=1e-4, atol=1e-5)


def random_batch(regions=2000):
    generator = torch.Generator().manual_seed(0)
    embedding = torch.randn(3, 4, 6, 8, generator=generator)
    labels = torch.tensor([0, 3, UNLABELLED, VOID])[torch.randint(0, 4, (3, 6, 8), generator=generator)]
    return embedding, labels, torch.randint(0, regions, (3, 6, 8), generator=generator)


def test_a_segment_is_of_one_image_one_label_and_one_region():
    """Also of regions beyond the release's 255."""
    embedding, labels, regions = random_batch(3000)
    segments = make_segments(embedding, labels, regions, location_features(6, 8, CPU), Clustering((2, 2), 4))
    kept = labels != VOID
    assert len(segments.own) == kept.sum()
    assert torch.equal(segments.label[segments.own], labels[kept])
    assert torch.equal(segments.region[segments.own], regions[kept])
    image = torch.arange(3)[:, None, None].expand_as(labels)[kept]
    assert torch.equal(segments.image[segments.own], image)


def test_void_pixels_change_no_segment():
    embedding, labels, regions = random_batch()
    location, clustering = location_features(6, 8, CPU), Clustering((2, 2), 4)
    segments = make_segments(embedding, labels, regions, location, clustering)
    void = (labels == VOID)[:, None]
    other = make_segments(torch.where(void, 100.0, embedding), labels, regions, location, clustering)
    assert torch.equal(segments.own, other.own)
    assert torch.equal(segments.joint_prototypes, other.joint_prototypes)


def test_a_batch_of_void_pixels_has_no_segments():
    embedding, labels, regions = random_batch()
    segments = make_segments(
        embedding,
        torch.full_like(labels, VOID),
        regions,
        location_features(6, 8, CPU),
        Clustering((2, 2), 4),
    )
    assert len(segments.own) == len(segments.prototypes) == 0
