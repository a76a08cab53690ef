from __future__ import annotations

import pytest
import torch

from pipeline.methods.spml.clustering import prototypes
from pipeline.methods.spml.retrieval import nearest_labels, votes


def test_retrieval_matches_the_release(load):
    arrays = load("retrieval")
    ids, own = torch.unique(arrays["cluster_index"], return_inverse=True)
    queries = prototypes(arrays["cluster_embedding"], own, len(ids))
    labels = nearest_labels(queries, arrays["memory_prototypes"], arrays["memory_labels"])
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
    assert nearest_labels(memory[:1], memory, torch.tensor([5, 6, 7])).tolist()[0][0] == 5
    assert nearest_labels(memory[:1], memory, torch.tensor([5, 6, 7])).shape == (1, 3)


@pytest.mark.parametrize("clusters", [1, 2])
def test_a_single_query_is_answered(clusters):
    """The release divides by the number of queries less one."""
    assert nearest_labels(torch.eye(2)[:clusters], torch.eye(2), torch.arange(2), 1).shape == (clusters, 1)
