from __future__ import annotations

import pytest
import torch

from pipeline.methods.spml import portions
from pipeline.methods.spml.clustering import normalise, prototypes
from pipeline.methods.spml.retrieval import QUERIES, nearest_labels, votes


def test_retrieval_matches_the_release(load):
    arrays = load("retrieval")
    ids, own = torch.unique(arrays["cluster_index"], return_inverse=True)
    queries = prototypes(arrays["cluster_embedding"], own, len(ids))
    labels = nearest_labels(queries, arrays["memory_prototypes"], arrays["memory_labels"], 20)
    assert torch.equal(labels[own], arrays["top20"])
    assert torch.equal(votes(labels, 7).argmax(dim=1)[own], arrays["prediction"])


def test_majorities_match_the_release(load):
    arrays = load("retrieval")
    labels = nearest_labels(
        arrays["topk_embeddings"], arrays["memory_prototypes"], arrays["memory_labels"], 5
    )
    assert torch.equal(labels, arrays["topk_labels"])
    assert torch.equal(votes(labels, 7).argmax(dim=1), arrays["majority"])


def test_votes_are_shares_and_the_lowest_of_equal_ones_wins():
    shares = votes(torch.tensor([[2, 1, 2, 1], [3, 3, 0, 3]]), 4)
    assert shares.tolist() == [[0, 0.5, 0.5, 0], [0.25, 0, 0, 0.75]]
    assert shares.argmax(dim=1).tolist() == [1, 3]


def test_a_memory_smaller_than_the_neighbours_is_asked_whole():
    memory = torch.eye(3)
    found = nearest_labels(memory[:1], memory, torch.tensor([5, 6, 7]), 20)
    assert found.shape == (1, 3)
    assert found[0, 0] == 5


@pytest.mark.parametrize("entries", [1, 10 * QUERIES, 10**6])
def test_a_memory_is_searched_in_blocks(entries, monkeypatch):
    """Of 5, 10 and all 53 segments; the last block has fewer than the neighbours."""
    monkeypatch.setattr(portions, "CPU_ENTRIES", entries)
    draw = torch.Generator().manual_seed(0)
    memory, queries = (normalise(torch.randn(count, 4, generator=draw)) for count in (53, 7))
    labels = torch.arange(100, 153)
    found = nearest_labels(queries, memory, labels, 5)
    for row, query in zip(found.tolist(), queries, strict=True):
        cosines = [float(query @ one) for one in memory]
        assert row == [100 + place for place in sorted(range(53), key=lambda at: -cosines[at])[:5]]


@pytest.mark.parametrize("clusters", [1, 2])
def test_a_single_query_is_answered(clusters):
    """The release divides by the number of queries less one."""
    assert nearest_labels(torch.eye(2)[:clusters], torch.eye(2), torch.arange(2), 1).shape == (clusters, 1)
