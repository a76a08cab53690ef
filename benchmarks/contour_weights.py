"""Fit the weights of pipeline/priors/contours.py: `python -m benchmarks.contour_weights BSDS_MINI/train`.

Logistic regression of the share of annotators with a boundary near a pixel on the pixel's cues, at the
orientation at which they are strongest together; the pixels are those beside watershed lines, which are what
the hierarchy rates, and some others.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from scipy.optimize import minimize

from pipeline.evaluation.segmentation_scores import Drawn
from pipeline.priors.contour_cues import contour_cues
from pipeline.priors.contours import ContourMap
from pipeline.priors.watershed import watershed_arcs
from tests.bsds_mini import images, names

NEAR = 2.5  # pixels
RIDGE, OTHER, OTHER_WEIGHT = 6000, 1500, 0.3  # pixels per image
DECAY = 1e-3


def samples(folder: Path) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Names of the cues (D,), cues (N, D), shares of annotators (N,), weights (N,)."""
    rng = np.random.default_rng(0)
    cues, shares, weights = [], [], []
    for name, image in zip(names(folder), images(folder), strict=True):
        height, width = image.shape[:2]
        full = {
            cue: np.stack([cv2.resize(values, (width, height)) for values in maps])
            for cue, maps in contour_cues(image, 24, 3).items()
        }
        together = sum(maps for cue, maps in full.items() if cue != "step") + 2 * full["color"]
        strongest = together.argmax(0)
        labels = watershed_arcs(ContourMap(together.max(0), None), oriented=False).labels
        line = np.zeros((height, width), dtype=bool)
        line[:, :-1] |= labels[:, 1:] != labels[:, :-1]
        line[:-1] |= labels[1:] != labels[:-1]
        ridge = np.flatnonzero(line)
        ridge = rng.choice(ridge, min(RIDGE, len(ridge)), replace=False)
        chosen = np.concatenate((ridge, rng.choice(line.size, OTHER, replace=False)))
        at = (strongest.ravel()[chosen], *np.unravel_index(chosen, line.shape))
        cues.append(np.stack([maps[at] for maps in full.values()], axis=1))
        drawn = Drawn.read(folder / "groundtruth" / f"{name}.npz").boundaries
        near = [
            cv2.distanceTransform((~one).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= NEAR
            for one in drawn
        ]
        shares.append(np.mean(near, axis=0).ravel()[chosen])
        weights.append(np.where(np.arange(len(chosen)) < len(ridge), 1, OTHER_WEIGHT))
    return list(full), np.concatenate(cues), np.concatenate(shares), np.concatenate(weights)


def fit(cues: np.ndarray, shares: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights (D,), none negative, and the bias."""
    mean, spread = cues.mean(0), cues.std(0)
    design = np.column_stack(((cues - mean) / spread, np.ones(len(cues))))

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        logits = design @ parameters
        decay = DECAY * np.append(parameters[:-1], 0)
        wrong = weights * (1 / (1 + np.exp(-logits)) - shares) / weights.sum()
        value = (weights * (np.logaddexp(0, logits) - shares * logits)).sum() / weights.sum()
        return float(value + decay @ parameters), design.T @ wrong + 2 * decay

    bounds = [(0, None)] * cues.shape[1] + [(None, None)]
    found = minimize(loss, np.zeros(len(bounds)), jac=True, method="L-BFGS-B", bounds=bounds).x
    scaled = found[:-1] / spread
    return scaled, float(found[-1] - scaled @ mean)


def main() -> None:
    known, cues, shares, weights = samples(Path(sys.argv[1]))
    for radii in ((5,), (5, 10), (5, 10, 20)):
        used = [name for name in known if "-" not in name or int(name.split("-")[1]) in radii]
        found, bias = fit(cues[:, [known.index(name) for name in used]], shares, weights)
        print(len(radii), dict(zip(used, found.round(2).tolist(), strict=True)), round(bias, 2))


if __name__ == "__main__":
    main()
