from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.methods.spml import portions
from pipeline.methods.spml.clustering import (
    cluster_sums,
    majority,
    normalise,
    prototypes,
    spherical_kmeans,
)


@pytest.mark.parametrize("iterations", [1, 2, 5, 10])
def test_kmeans_matches_the_release(load, iterations):
    """Cluster 3 is empty at the start."""
    arrays = load("kmeans")
    clusters = spherical_kmeans(arrays["embeddings"][None], arrays["initial_labels"][None], 12, iterations)
    assert torch.equal(clusters[0], arrays[f"labels_after_{iterations}"])


def test_prototypes_and_their_gradient_match_the_release(load):
    arrays = load("kmeans")
    embeddings = arrays["embeddings"].requires_grad_()
    found = prototypes(embeddings, arrays["initial_labels"], 12)
    torch.testing.assert_close(found, arrays["prototypes"], rtol=1e-4, atol=1e-5)
    slope = torch.autograd.grad((found * arrays["prototype_weight"]).sum(), embeddings)[0]
    torch.testing.assert_close(slope, arrays["prototypes_grad_embeddings"], rtol=1e-3, atol=1e-6)
    assert torch.equal((embeddings @ found.T).argmax(dim=1), arrays["nearest"])


def test_lengths_match_the_release(load):
    arrays = load("kmeans")
    torch.testing.assert_close(
        normalise(arrays["normalize_in"]), arrays["normalize_out"], rtol=1e-4, atol=1e-5
    )


def test_sums_over_sizes_are_the_release_s_means(load):
    arrays = load("kmeans")
    clusters = arrays["labels_after_10"]
    sizes = torch.bincount(clusters, minlength=12).clamp(min=1)
    means = cluster_sums(arrays["embeddings"], clusters, 12) / sizes[:, None]
    torch.testing.assert_close(means, arrays["segment_mean"], rtol=1e-4, atol=1e-5)


def test_majorities_match_the_release(load):
    arrays = load("kmeans")
    labels, clusters = arrays["split_semantic"], arrays["labels_after_10"]
    found = majority(labels, clusters, 12, 256)
    assert torch.equal(found, arrays["majority_labels"])
    agreeing = torch.nonzero(found[clusters] == labels)[:, 0]
    assert torch.equal(agreeing, arrays["majority_selected"])


def test_of_equal_counts_the_lowest_label_wins():
    labels = torch.tensor([3, 1, 1, 3, 2])
    assert majority(labels, torch.tensor([0, 0, 0, 0, 1]), 3, 4).tolist() == [1, 2, 0]


@pytest.mark.parametrize("entries", [1, 100])
def test_pixels_are_assigned_in_portions(load, entries, monkeypatch):
    monkeypatch.setattr(portions, "CPU_ENTRIES", entries)
    arrays = load("kmeans")
    start = arrays["embeddings"].expand(2, -1, -1), arrays["initial_labels"].expand(2, -1)
    clusters = spherical_kmeans(*start, 12, 2)
    assert torch.equal(clusters, arrays["labels_after_2"].expand(2, -1))


def test_an_empty_cluster_is_no_pixel_s_unless_all_others_are_opposite():
    embeddings = torch.tensor([[[1.0, 0.2], [0.2, 1.0], [-1.0, -0.5]]])
    # The third pixel's cosines are negative with the only full cluster, and 0 with the empty ones.
    clusters = spherical_kmeans(embeddings, torch.tensor([[2, 2, 2]]), 3, 1)
    assert clusters.tolist() == [[2, 2, 0]]


@st.composite
def batches(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    images, pixels = draw(st.integers(1, 3)), draw(st.integers(2, 20))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    embeddings = torch.randn(images, pixels, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 4, (images, pixels), generator=generator)
    return normalise(embeddings), labels, torch.rand(images, pixels, generator=generator) < 0.8


@settings(max_examples=30, deadline=None)
@given(batches())
def test_images_are_clustered_each_for_itself(batch):
    embeddings, labels, valid = batch
    together = spherical_kmeans(embeddings, labels, 4, 3, valid)
    for image in range(len(labels)):
        kept = valid[image]
        alone = spherical_kmeans(embeddings[image, kept][None], labels[image, kept][None], 4, 3)
        assert torch.equal(together[image, kept], alone[0])


@settings(max_examples=30, deadline=None)
@given(batches(), st.randoms())
def test_clusters_depend_on_neither_the_order_of_pixels_nor_a_rotation(batch, random):
    embeddings, labels, _ = batch
    clusters = spherical_kmeans(embeddings, labels, 4, 3)
    order = torch.tensor(random.sample(range(labels.shape[1]), labels.shape[1]))
    assert torch.equal(spherical_kmeans(embeddings[:, order], labels[:, order], 4, 3), clusters[:, order])
    rotation = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64)).Q
    assert torch.equal(spherical_kmeans(embeddings @ rotation, labels, 4, 3), clusters)
