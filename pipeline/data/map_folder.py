"""Label maps beside images, paired by a text file, as CamVid comes: any dataset with 8-bit PNG label maps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from pipeline.data.images import leaves_folder, read_inside
from pipeline.data.label_codes import MOST_CLASSES, VOID
from pipeline.data.label_png import decode_label_png
from pipeline.data.scenes import Labelled, Scene, Split, check_scenes, read_lines
from pipeline.engine.parallel import HERE
from pipeline.errors import UserError
from pipeline.params import Executor


@dataclass(frozen=True)
class MapLabels:
    """Reads a label map by its name below `folder`, a real path; the values in `ignore` become VOID."""

    folder: str
    ignore: tuple[int, ...]

    def __call__(self, name: str) -> Labelled:
        values = decode_label_png(read_inside(self.folder, name))
        values[np.isin(values, self.ignore)] = VOID
        return Labelled(values, [])


def read_maps(
    folder: Path,
    list_name: str,
    classes: Sequence[str],
    background: bool,
    ignore: Sequence[int],
    processes: int,
    executor: Executor = HERE,
) -> Split:
    """Read and check the images that a list in `folder` pairs with label maps, on `processes` processes or
    on the executor's.

    Images are numbered from 1 in the order of their names.  Raises UserError for a list that is missing or
    names anything but one pair of files inside the folder per line, an image twice, and when no image can be
    used; and for classes that a label map cannot tell, or that are ignored.
    """
    if not 0 < len(classes) <= MOST_CLASSES:
        problem = f"are {len(classes)}, and a label map holds 1 to {MOST_CLASSES}"
        raise UserError("params.yaml", "classes", problem)
    if inside := [value for value in ignore if value < len(classes)]:
        problem = f"{inside[0]} is a class, {classes[inside[0]]!r}"
        raise UserError("params.yaml", "ignore", problem, "ignore values that are no classes")
    path = folder / list_name
    pairs = sorted(_pair(path, line) for line in read_lines(path))
    for (name, _), (after, _) in pairwise(pairs):
        if name == after:
            raise UserError(path, name, "occurs twice", "name every image once")
    first = 1 if background else 0
    categories = [{"id": key, "name": name} for key, name in enumerate(classes) if key >= first]
    read = MapLabels(os.path.realpath(folder), tuple(ignore))
    scenes = [Scene(image, label) for image, label in pairs]
    return check_scenes(folder, scenes, read, categories, len(classes), processes, path, executor)


def _pair(path: Path, line: str) -> tuple[str, str]:
    words = line.split()
    if len(words) != 2:
        problem = f"a line must name an image and its label map, and one has {len(words)} words"
        raise UserError(path, line[:80], problem, "write them with a blank between; names hold no blanks")
    for word in words:
        if problem := leaves_folder(word):
            raise UserError(path, repr(word), problem, f"write paths below {path.parent}")
    return words[0], words[1]
