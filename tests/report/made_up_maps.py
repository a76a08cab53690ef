"""Made-up label maps for the report: an oracle, SPML from two kinds of labels, seeds and pseudo-labels."""

from __future__ import annotations

from typing import Literal

import numpy as np

from pipeline.report.data import Curve, Difference, Interval
from pipeline.report.indexed_png import indexed_png
from pipeline.report.semantic_data import (
    LabelMapRow,
    LabelMaps,
    PriorPreview,
    ScoredLabels,
    SemanticClasses,
    SemanticScene,
)

CLASSES = SemanticClasses(("background", "ellipse", "polygon", "star"), background=True)
ROWS = {  # name: title, what people gave, mIoU
    "pixel_oracle": ("Labels of all pixels", "pixels", 71.3),
    "spml_point": ("SPML, points", "points", 58.2),
    "spml_tag": ("SPML, tags <b>", "tags", 49.9),
}


def _confusion(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.diag(rng.integers(500, 900, 4)) + rng.integers(0, 90, (4, 4))


def _row(name: str) -> LabelMapRow:
    title, drawn, score = ROWS[name]
    oracle = name == "pixel_oracle"
    return LabelMapRow(
        name=name,
        title=title,
        method="supervised_semantic" if oracle else "pixel_classifier",
        drawn=drawn,
        labels="pixels" if oracle else f"spread_{drawn}",
        oracle="pixel_oracle",
        seeds=(0,),
        figures={
            "mIoU": score,
            "boundary_mIoU": score - 12,
            "pixel_accuracy": score + 20,
            "mIoU_crf": score + 1.5,
            "boundary_mIoU_crf": score - 9,
            "crf_gain": 1.5,
        },
        intervals={"mIoU": Interval(score - 2.1, score + 1.9)},
        confusion=_confusion(len(name)),
        retention=100.0 if oracle else 100 * score / 71.3,
        retention_interval=None if oracle else Interval(60.0, 85.0),
        retention_crf=100.0 if oracle else 80.0,
        per_class=dict(zip(CLASSES.names, (score + 20, score, score - 9, None), strict=True)),
        seed_scores={0: score},
        model="spml_small",
        train_images=1500,
        labelled_fraction=0.4,
        params_million=0.42,
        settings={"method": {"kind": "pixel_classifier", "train": {"steps": 200}}},
    )


def _scene(rank: str, seed: int) -> SemanticScene:
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.integers(0, 4, (6, 6)), np.ones((16, 16), int)).astype(np.uint8)
    plain = np.roll(truth, 3, axis=1)
    image = (60 * truth[..., None] + rng.integers(0, 40, (96, 96, 3))).astype(np.uint8)
    return SemanticScene(f"scene-{seed}.png", rank, image, truth, plain, truth, 70.0 - seed)  # type: ignore[arg-type]


def _prior(kind: Literal["segments", "cams"], name: str, side: int) -> PriorPreview:
    picture = np.full((side // 2, side, 3), len(name), np.uint8)
    return PriorPreview(kind, name, f"{kind}@{name}", f"How {name} <was> made_of it.", indexed_png(picture))


def make_label_maps() -> LabelMaps:
    """All that the semantic part of the report shows."""
    rows = tuple(map(_row, ROWS))
    curve = Curve(0, np.arange(0.0, 300, 20), {"loss": np.exp(-np.arange(15) / 5)})
    return LabelMaps(
        classes=CLASSES,
        rows=rows,
        differences=(
            Difference("pixel_oracle", "spml_point", 13.1, Interval(10.0, 15.8), False),
            Difference("spml_tag", "spml_point", -8.3, Interval(-10.1, 0.4), True),
        ),
        crf_differences=(Difference("spml_point", "spml_tag", 8.3, Interval(6.0, 10.1), False),),
        sets=(
            ScoredLabels(
                "cam_tags",
                "tags",
                "class activation maps cams",
                100.0,
                71.0,
                53.6,
                Interval(52.8, 54.4),
                30.1,
                600,
            ),
            ScoredLabels(
                "spread_tags", "tags", "spread by the embedding embed_tag", 88.0, None, 57.0, None, 33.0, 600
            ),
        ),
        set_differences=(Difference("spread_tags", "cam_tags", 3.4, Interval(2.6, 4.2), False),),
        curves={row.name: (curve,) for row in rows},
        scenes=(_scene("best", 1), _scene("median", 2), _scene("worst", 3)),
        shown="pixel_oracle",
        stand_ins=("spml_point",),
        priors=(
            _prior("segments", "fine", 800),
            _prior("cams", "cam_tags", 600),
            _prior("cams", "boxed", 600),
        ),
    )
