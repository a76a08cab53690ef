"""Classes of labelled segments, carried over to segments that are like them."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.data.label_codes import UNLABELLED
from pipeline.methods.spml.segments import Segments


@torch.no_grad()
def neighbour_classes(segments: Segments, classes: int, least_similarity: float, count: int = 1) -> Tensor:
    """(m, classes) bool: the classes of the `count` labelled segments nearest to each segment.

    Neighbours are of the same image, by the cosine of joint prototypes, and have at least
    `least_similarity`; a labelled segment is its own nearest one.  A segment without neighbours has none.
    """
    labelled = torch.nonzero(segments.label < UNLABELLED)[:, 0]
    spread = torch.zeros(len(segments.label), classes, dtype=torch.bool, device=segments.label.device)
    if not len(labelled):
        return spread
    similarities = segments.joint_prototypes @ segments.joint_prototypes[labelled].T
    similarities.masked_fill_(segments.image[:, None] != segments.image[labelled], -torch.inf)
    values, nearest = similarities.topk(min(count, len(labelled)), dim=1)
    kept = (values >= least_similarity) & values.isfinite()  # -inf is a segment of another image
    found = segments.label[labelled][nearest]
    for rank in range(kept.shape[1]):
        rows = torch.nonzero(kept[:, rank])[:, 0]
        spread[rows, found[rows, rank]] = True
    return spread
