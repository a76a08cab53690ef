"""The images of bsds-mini, and scores of hierarchies of their test half."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from pipeline import params
from pipeline.data.images import read_image
from pipeline.evaluation.segmentation_scores import Drawn, Summary, pooled_levels, score_image, summarise
from pipeline.priors.contours import ContourMap, built_in_contours, gradient_contours, read_contours
from pipeline.priors.hierarchies import build_hierarchy, ultrametric_map

MEAN_BOUNDARY = {"kind": "mean_boundary", "oriented": False}
ORIENTED = {"kind": "mean_boundary", "oriented": True}
VOLUME = {"kind": "volume"}
AREA = {"kind": "area"}


def names(folder: Path) -> list[str]:
    return (folder / "list.txt").read_text().split()


def images(folder: Path) -> Iterator[np.ndarray]:
    for name in names(folder):
        yield read_image(folder / "images" / f"{name}.jpg")


def built_in(image: np.ndarray, spectral: float) -> ContourMap:
    given = {"kind": "built_in", "words": 24, "scales": 3, "spectral": spectral}
    return built_in_contours(image, params.BuiltInContours.model_validate(given))


def gradient(image: np.ndarray) -> ContourMap:
    return gradient_contours(image, params.GradientContours(kind="gradient", sigma=1.2))


def learnt(folder: Path) -> list[ContourMap]:
    """The maps of PiDiNet that come with the images."""
    pairs = zip(names(folder), images(folder), strict=True)
    return [read_contours(folder / "contours" / f"{name}.png", image.shape[:2]) for name, image in pairs]


def hierarchy(kind: dict[str, Any]) -> params.Hierarchy:
    return TypeAdapter[params.Hierarchy](params.Hierarchy).validate_python(kind)


def summary(folder: Path, contours: list[ContourMap], kind: dict[str, Any]) -> Summary:
    rule = hierarchy(kind)
    maps = [ultrametric_map(build_hierarchy(each, rule)) for each in contours]
    levels = pooled_levels(maps)
    drawn = [Drawn.read(folder / "groundtruth" / f"{name}.npz") for name in names(folder)]
    return summarise([score_image(*pair, levels) for pair in zip(maps, drawn, strict=True)])
