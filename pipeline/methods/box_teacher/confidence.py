"""How far a detection and its mask are to be trusted (BoxTeacher, arXiv 2210.05174, section 3.2).

The paper takes the certainty of a mask over its box; the release, which this follows, over the whole image.
"""

from __future__ import annotations

from torch import Tensor


def mask_aware_confidence(scores: Tensor, certainty: Tensor) -> Tensor:
    """sqrt(score * certainty): by it detections are ranked, matched to boxes and reported.

    scores: (N,) of the detections, in [0, 1]; certainty: (N,) in [0, 1], the mean probability of a mask over
    its pixels.  Returns (N,) in [0, 1].
    """
    return (scores * certainty).sqrt()


def pseudo_mask_weights(scores: Tensor, certainty: Tensor) -> Tensor:
    """sqrt(sqrt(score) * certainty): what losses on the masks are weighted by.  Shapes as above.

    The score of a CondInst is a root already, so that its class and centre-ness probabilities count with
    the power 1/4.
    """
    return (scores.sqrt() * certainty).sqrt()
