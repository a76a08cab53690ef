"""Our dense CRF against pydensecrf in one process, on one thread, taking turns: CPU time, as ratios.

Run with `-s` to see the ratios; see benchmarks/README.md.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from benchmarks.measuring import cpu_seconds
from pipeline.params import DenseCrf
from pipeline.priors.crf.inference import dense_crf
from pipeline.priors.crf.smoothness import smoothness_kernel

SPML = DenseCrf(
    backend="torch",
    iterations=10,
    smoothness_std=1.0,
    smoothness_weight=3.0,
    appearance_std=67.0,
    appearance_color_std=3.0,
    appearance_weight=4.0,
)
SEAM = SPML.model_copy(
    update={
        "smoothness_std": 3.0,
        "appearance_std": 80.0,
        "appearance_color_std": 13.0,
        "appearance_weight": 10.0,
    }
)
CRFS = {"SPML": SPML, "SEAM": SEAM}
CASES = [
    (120, 160, 5, 5),
    (375, 500, 21, 21),
    (375, 500, 21, 3),
    (512, 512, 2, 2),
]  # last: classes that occur
ROUNDS = 7
PHOTO = Path(__file__).parents[2] / "shared/data/voc-mini/VOCdevkit/VOC2012/JPEGImages/2007_002611.jpg"


def photo(height: int, width: int) -> np.ndarray:
    """A photograph of that size, or, where the reference material is not here, smooth patches with noise."""
    if PHOTO.exists():
        pixels = cv2.imread(str(PHOTO))[:, :, ::-1]
        if pixels.shape[:2] != (height, width):
            pixels = cv2.resize(np.ascontiguousarray(pixels), (width, height), interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(pixels)
    draw = np.random.default_rng(0)
    layers = [resized(draw.standard_normal((count, count, 3)), height, width) for count in (4, 16, 64)]
    scene = 128 + 40 * layers[0] + 20 * layers[1] + 8 * layers[2] + 3 * draw.standard_normal(layers[0].shape)
    return scene.clip(0, 255).astype(np.uint8)


def resized(values: np.ndarray, height: int, width: int) -> np.ndarray:
    return cv2.resize(values.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)


def guess(height: int, width: int, classes: int, occurring: int) -> np.ndarray:
    """Smooth probabilities of `occurring` classes, 0 of the others."""
    draw = np.random.default_rng(1)
    scores = [
        resized(2.5 * draw.standard_normal((height // 32 + 2, width // 32 + 2)), height, width)
        for _ in range(occurring)
    ]
    some = np.exp(np.stack(scores))
    probabilities = np.zeros((classes, height, width), dtype=np.float32)
    probabilities[np.linspace(0, classes - 1, occurring).astype(int)] = some / some.sum(0)
    return probabilities


def first(image: np.ndarray, probabilities: np.ndarray, settings: DenseCrf) -> np.ndarray:
    """Nothing is known yet of images of this size."""
    smoothness_kernel.cache_clear()
    return dense_crf(image, probabilities, settings)


@pytest.mark.parametrize("name", CRFS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_ratio(name: str, case: tuple[int, int, int, int]) -> None:
    """The same labels but for some in a hundred pixels; prints the ratios of time."""
    torch.set_num_threads(1)
    data = photo(*case[:2]), guess(*case)
    ours, reference = CRFS[name], CRFS[name].model_copy(update={"backend": "pydensecrf"})
    agreeing = float((dense_crf(*data, ours).argmax(0) == dense_crf(*data, reference).argmax(0)).mean())
    assert agreeing > 0.99
    works: list[Callable[[], object]] = [
        partial(first, *data, ours),
        partial(dense_crf, *data, ours),
        partial(dense_crf, *data, reference),
    ]
    cold, warm, slow = map(min, cpu_seconds(works, ROUNDS))
    print(
        f"\n{name}, {case[0]} x {case[1]}, {case[3]} of {case[2]} classes: {1e3 * cold:.0f} ms, of further"
        f" images of this size {1e3 * warm:.0f} ms, pydensecrf {1e3 * slow:.0f} ms"
        f" ({slow / cold:.2f}x and {slow / warm:.2f}x faster), {100 * agreeing:.2f} % of labels equal"
    )
