from __future__ import annotations

import pytest
import torch

from pipeline.methods.detection.proposals import Positives, random_choice, rank_in_group, topk_per_box


@pytest.mark.parametrize("case", ["many", "crowd", "one", "emptyimg"])
def test_quota_matches_reference(load, case):
    arrays = load("proposal_selection", case)
    quality = arrays["logits"].sigmoid().amax(dim=1) * arrays["ctrness"].sigmoid()
    kept = topk_per_box(Positives(arrays["im_inds"], arrays["gt_inds"], quality), int(arrays["topk"]))
    assert torch.equal(kept, arrays["kept_index"].sort().values)


def test_rank_counts_within_groups_and_first_wins_ties():
    groups = torch.tensor([2, 0, 2, 0, 2])
    quality = torch.tensor([0.1, 0.5, 0.9, 0.5, 0.1])
    assert rank_in_group(groups, quality).tolist() == [1, 0, 0, 1, 2]


def test_nothing_to_choose_from():
    none = torch.zeros(0, dtype=torch.int64)
    positives = Positives(none, none, torch.zeros(0))
    assert topk_per_box(positives, 64).tolist() == []
    assert random_choice(positives, 5, torch.Generator().manual_seed(0)).tolist() == []


def test_random_choice_is_seeded_and_without_repetition():
    positives = Positives(torch.zeros(50, dtype=torch.int64), torch.arange(50), torch.rand(50))
    first = random_choice(positives, 20, torch.Generator().manual_seed(1))
    assert torch.equal(first, random_choice(positives, 20, torch.Generator().manual_seed(1)))
    assert not torch.equal(first, random_choice(positives, 20, torch.Generator().manual_seed(2)))
    assert len(first.unique()) == 20
    assert random_choice(positives, 50, torch.Generator()).tolist() == list(range(50))
