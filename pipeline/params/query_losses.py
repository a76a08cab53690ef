"""What networks that predict a set of queries are trained with."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.params.base import Positive, Rate, Section, Share, Weight


class QueryLosses(Section):
    """Losses of Mask2Former (arXiv 2112.01527); the first three weigh the costs of the matching, too."""

    class_weight: Weight
    mask_weight: Weight  # of the cross-entropy at sampled points
    dice_weight: Weight
    no_object_weight: Rate  # of queries without an object in the class loss, where the others have 1
    points: Positive  # of a mask that losses and costs look at
    oversample: Annotated[float, Field(ge=1)]  # candidates per point, of which the uncertain ones are taken
    importance: Share  # of the points that are uncertain ones; the others are uniform
