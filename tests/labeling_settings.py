"""How the release of MAL turns boxes into masks, for tests to vary."""

from __future__ import annotations

from pipeline.params import DenseCrf, Labeling, MeanField

RELEASED = Labeling(
    network="student",
    flip=False,
    thresholds=(0.1, 0.1, 0.1),
    refine="none",
    mean_field=MeanField(kernel=3, zeta=0.1, iterations=100, clamp=(0.1, 0.9)),
    dense_crf=DenseCrf(
        backend="pydensecrf",
        iterations=10,
        smoothness_std=3.0,
        smoothness_weight=3.0,
        appearance_std=80.0,
        appearance_color_std=13.0,
        appearance_weight=10.0,
    ),
    batch_size=16,
    workers=0,
    threads=1,
)
