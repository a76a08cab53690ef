"""The filter of a teacher's predictions works on a batch as on each of its images."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from pipeline.methods.mean_teacher.pseudo_masks import pseudo_masks
from pipeline.models.mask2former.predictions import QueryPredictions
from pipeline.params import PseudoMasks

SETTINGS = PseudoMasks(class_threshold=0.4, area_threshold=20.0, drop_empty=True)


@pytest.fixture
def predictions() -> QueryPredictions:
    """Of four images; the third has no label, for all of its queries see nothing."""
    draw = torch.Generator().manual_seed(0)
    classes = 2 * torch.randn(4, 12, 4, generator=draw)
    classes[2, :, -1] = 20.0
    scales = 4 * torch.randn(4, 12, 1, 1, generator=draw)
    return QueryPredictions(classes, torch.randn(4, 12, 8, 10, generator=draw) + scales)


def test_a_batch_is_filtered_as_its_images_are(predictions: QueryPredictions) -> None:
    found = pseudo_masks(predictions, SETTINGS)
    counts = [len(image.labels) for image in found]
    assert counts[2] == 0
    assert len(set(counts)) > 2
    for index, image in enumerate(found):
        probabilities, classes = predictions.class_logits[index].softmax(-1).max(-1)
        masks = predictions.mask_logits[index].sigmoid()
        expected = [
            query
            for query in range(12)
            if classes[query] != 3
            and probabilities[query] > SETTINGS.class_threshold
            and masks[query].sum() > SETTINGS.area_threshold
            and (masks[query] > 0.5).any()
        ]
        assert torch.equal(image.labels, classes[expected])
        assert torch.equal(image.masks, masks[expected] > 0.5)


def test_the_host_asks_once_for_a_batch(predictions: QueryPredictions) -> None:
    """Only reading the choice makes it wait; the number of images does not matter."""
    asked = []
    whole = Tensor.cpu

    def counted(tensor: Tensor) -> Tensor:
        asked.append(tuple(tensor.shape))
        return whole(tensor)

    with patch.object(Tensor, "cpu", counted):
        pseudo_masks(predictions, SETTINGS)
    assert asked == [(4, 12)]
