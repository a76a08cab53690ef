"""Dense CRF inference by pydensecrf, the field's reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline import params

LEAST_PROBABILITY = 1e-5  # keeps the unary finite: a pixel that is certain can still be overruled


def pydensecrf_marginals(
    image: NDArray[np.uint8], probabilities: NDArray[np.float32], settings: params.DenseCrf
) -> NDArray[np.float32]:
    """What `pipeline.priors.crf.inference.dense_crf` says, on one core."""
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
