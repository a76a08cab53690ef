"""In which order images are labelled: any share of a dataset is a head of one order, so splits are nested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from decimal import ROUND_CEILING, Context, Decimal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError


def split_size(percent: float, images: int) -> int:
    """How many images `percent` of `images` are, rounded down: 473 for 0.4 % of 118 287.

    In decimal, since 0.57 % of 10 000 is 56.99 in binary.
    """
    return int(Decimal(str(percent)) * images / 100)


def labelled_size(percent: float, images: int, source: object) -> int:
    """`split_size`; UserError where that is less than one image of the dataset `source`."""
    if not images:
        raise UserError(source, "", "has no images", "run `dvc repro` with a dataset that has some")
    if size := split_size(percent, images):
        return size
    one = Context(prec=3, rounding=ROUND_CEILING).divide(Decimal(100), images)  # else it would be too little
    raise UserError(
        source,
        "",
        f"{percent:g} % of its {images} images is less than one image",
        f"take a larger share; one image is {one} %",
    )


def published_suffix(percent: float) -> str:
    """What the files of Guided Distillation (arXiv 2308.02668) are named after: 250 for 0.4 %, 5 for 5 %."""
    exact = Decimal(str(percent))
    return str(int(exact if exact >= 1 else 100 / exact))


def uniform_order(images: int, seed: int) -> NDArray[np.int64]:
    """(images,) the numbers from 0 on, in uniformly random order.

    A head of it is what Guided Distillation draws, whose script takes images without replacement by NumPy's
    legacy generator, seeded before each percentage.  That generator never changes with NumPy's version.
    """
    return np.asarray(np.random.RandomState(seed).permutation(images), dtype=np.int64)


def dues(classes: Sequence[Collection[int]]) -> dict[int, int]:
    """Class -> size from which on a split of these images must have it, in the order of due dates.

    classes: of each image, the classes of its objects.  A class has enough images for a split of n if a
    uniform draw would be expected to hold one of them, that is, if it is in at least 1 of N / n images; and
    if fewer than n classes have more, since a split cannot hold more classes than the images that it may need
    for each of them.  So the class with the r-th most images, f of them, is due at max(N / f, r).
    """
    counts = Counter(key for image in classes for key in set(image))
    ranked = sorted(counts, key=lambda key: (-counts[key], key))
    due = {key: max(-(-len(classes) // counts[key]), rank) for rank, key in enumerate(ranked, 1)}
    return dict(sorted(due.items(), key=lambda item: item[1]))


def stratified_order(classes: Sequence[Collection[int]], seed: int) -> NDArray[np.int64]:
    """(N,) the order `uniform_order` but for images that are moved ahead, so that no class is late (`dues`).

    classes: of each of N images, the classes of its objects.  An image is moved only when classes that the
    order has not met leave no choice: when k of them are due within k images, the first image of the earliest
    due one comes next.  Each image meets a class at least, and no more than n classes are due at n, so all
    are met in time.
    """
    uniform = uniform_order(len(classes), seed)
    first: dict[int, int] = {}
    for image in uniform.tolist():
        for key in classes[image]:
            first.setdefault(key, image)
    absent, chosen = dues(classes), dict[int, None]()
    latest = _latest(absent)
    waiting = iter(uniform.tolist())
    while len(chosen) < len(classes):
        if absent and len(chosen) == latest:
            image = first[next(iter(absent))]
        else:
            image = next(image for image in waiting if image not in chosen)
        chosen[image] = None
        if met := absent.keys() & set(classes[image]):
            absent = {key: due for key, due in absent.items() if key not in met}
            latest = _latest(absent)
    return np.fromiter(chosen, dtype=np.int64, count=len(chosen))


def _latest(absent: dict[int, int]) -> int:
    """After how many images the classes in `absent` (in the order of due dates) leave no choice any more."""
    return min((due - place for place, due in enumerate(absent.values(), 1)), default=0)
