"""Dense CRF inference, by pydensecrf."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline import params

LEAST_PROBABILITY = 1e-5  # keeps the unary finite: a pixel that is certain can still be overruled


def dense_crf(
    image: NDArray[np.uint8], probabilities: NDArray[np.float32], settings: params.DenseCrf
) -> NDArray[np.float32]:
    """Mean-field marginals of a fully connected CRF (Kraehenbuehl and Koltun, arXiv 1210.5644).

    image: (H, W, 3) uint8 RGB; probabilities: (K, H, W) in [0, 1], adding up to 1 over K classes.  Returns
    (K, H, W) float32.
    """
    from pydensecrf.densecrf import DenseCRF2D  # a compiled module that only this needs

    classes, height, width = probabilities.shape
    crf = DenseCRF2D(width, height, classes)
    unary = -np.log(np.clip(probabilities, LEAST_PROBABILITY, 1.0)).reshape(classes, -1)
    crf.setUnaryEnergy(np.ascontiguousarray(unary, dtype=np.float32))
    crf.addPairwiseGaussian(sxy=settings.smoothness_std, compat=settings.smoothness_weight)
    crf.addPairwiseBilateral(
        sxy=settings.appearance_std,
        srgb=settings.appearance_color_std,
        rgbim=np.array(image, order="C"),  # a copy: the library refuses arrays that are read-only
        compat=settings.appearance_weight,
    )
    marginals = np.asarray(crf.inference(settings.iterations), dtype=np.float32)
    return marginals.reshape(classes, height, width)
