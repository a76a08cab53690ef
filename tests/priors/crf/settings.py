"""The parameters of dense CRFs that papers use, for tests to vary."""

from __future__ import annotations

from typing import Any

from pipeline import params
from tests.labeling_settings import RELEASED

SEAM = RELEASED.dense_crf
SPML = params.DenseCrf(
    backend="pydensecrf",
    iterations=10,
    smoothness_std=1.0,
    smoothness_weight=3.0,
    appearance_std=67.0,
    appearance_color_std=3.0,
    appearance_weight=4.0,
)
CRFS = {"spml": SPML, "seam": SEAM}


def varied(settings: params.DenseCrf, **changes: Any) -> params.DenseCrf:
    return params.DenseCrf(**(settings.model_dump() | changes))
