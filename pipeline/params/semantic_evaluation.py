"""How predicted label maps are scored."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.params.base import Positive, Section, Seed, Share


class EvaluateSemantic(Section):
    """Evaluation of semantic segmentation: boundary width, bootstrap, processes."""

    boundary_dilation: Share  # of the image diagonal
    bootstrap_samples: Annotated[int, Field(ge=100)]
    bootstrap_seed: Seed
    processes: Positive
