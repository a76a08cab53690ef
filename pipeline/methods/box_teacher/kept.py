"""A sample of the teacher's masks, kept while it trains, so that a later stage can say how good they were.

Training sees no masks.  It only writes down what the teacher said; `quality.py` compares it, outside of the
training stage, with masks that this has no access to.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pipeline.data.masks import encode
from pipeline.distributed import gather_objects
from pipeline.methods.box_supervision.targets import box_masks
from pipeline.methods.box_teacher.pseudo_masks import PseudoMasks
from pipeline.methods.box_teacher.rows import KeptBox, Row, group_end
from pipeline.methods.box_teacher.views import LabelledViews

BATCHES = 4  # kept before each checkpoint: enough for a mean, few enough to be saved with every one
DIGITS = 6  # of weights
SOLID = 0.5  # probability above which a pixel belongs to a mask, where masks are soft


def is_kept(step: int, checkpoint_every: int) -> bool:
    """Whether the masks of training step `step`, from 0, are kept: of the last steps before a checkpoint."""
    return group_end(step, checkpoint_every) - step <= BATCHES


def kept_rows(step: int, batch: Sequence[LabelledViews], labels: Sequence[PseudoMasks]) -> list[Row]:
    """A row for each image of the batch, of all processes: JSON alone.

    Masks have the size of the student's image and are cut to their boxes, as the student learns them.
    """
    own = [_row(step, views, image) for views, image in zip(batch, labels, strict=True)]
    return [row for rows in gather_objects(own) for row in rows]


def _row(step: int, views: LabelledViews, image: PseudoMasks) -> Row:
    ids = views.weak.target.annotation_ids
    assert ids is not None  # as `TwoViews` makes them
    size = (int(views.weak.image.shape[-2]), int(views.weak.image.shape[-1]))
    inside = box_masks(views.weak.target.boxes.as_subclass(Tensor), size, stride=1)
    masks = encode(((image.masks > SOLID) & inside).cpu().numpy())
    boxes: list[KeptBox] = [
        {"annotation_id": key, "weight": round(weight, DIGITS), "mask": mask if weight > 0 else None}
        for key, weight, mask in zip(ids.tolist(), image.weights.tolist(), masks, strict=True)
    ]
    return {
        "step": step,
        "image_id": views.image_id,
        "key": views.key,
        "size": size,
        "boxes": boxes,
    }
