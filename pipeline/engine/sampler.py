"""Which images make up the batch of a step: a pure function of the dataset's size, the seed and the step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

Key = tuple[int, int]
"""(index of the image in the dataset, draw): `draw` numbers all images ever drawn, from 0."""

_ROUNDING = (0, 1)  # parts the stream that rounds repeats from those of orders and of augmentations


def repeat_factors(classes: Sequence[NDArray[np.integer]], threshold: float) -> NDArray[np.float64]:
    """(images,) how often an epoch draws each image, on average: images of rare classes more than once.

    classes: of each image, the class of every object.  A class that a share f of the images has asks for
    max(1, sqrt(threshold / f)), and an image is drawn as often as the class of its objects that asks for
    most (repeat-factor sampling of LVIS, arXiv 1908.03195, appendix).
    """
    present = [np.unique(image) for image in classes]
    images = np.bincount(np.concatenate([np.empty(0, np.int64), *present]))
    wanted = np.sqrt(threshold * len(present) / np.maximum(images, 1))
    return np.array([wanted[image].max(initial=1.0) for image in present], dtype=np.float64)


def draws(
    length: int, seed: int, start: int = 0, repeats: NDArray[np.float64] | None = None
) -> Iterator[Key]:
    """The endless sequence of images from draw `start` on: every epoch is a permutation of its own.

    repeats: (length,) of 1 or more; if given, an epoch has each image so often, a fraction being rounded up
    in that share of the epochs, by chance.
    """
    epoch = start // length if repeats is None else 0  # the lengths of epochs with repeats differ
    first = epoch * length
    while True:
        images = epoch_images(length, seed, epoch, repeats)
        if start < first + len(images):
            order = np.random.default_rng((seed, epoch)).permutation(images).tolist()
            for draw in range(max(first, start), first + len(images)):
                yield order[draw - first], draw
        epoch, first = epoch + 1, first + len(images)


def epoch_images(
    length: int, seed: int, epoch: int, repeats: NDArray[np.float64] | None
) -> NDArray[np.int64]:
    """The indices that an epoch draws, ascending; repeats: as for `draws`."""
    if repeats is None:
        return np.arange(length)
    whole = np.floor(repeats)
    up = np.random.default_rng((seed, epoch, *_ROUNDING)).random(length) < repeats - whole
    return np.repeat(np.arange(length), whole.astype(np.int64) + up)


def batches(
    length: int,
    batch_size: int,
    seed: int,
    wide: np.ndarray | None = None,
    start: int = 0,
    repeats: NDArray[np.float64] | None = None,
) -> Iterator[list[Key]]:
    """The endless sequence of batches from step `start` on.

    wide: (length,) bool; if given, a batch holds images of one kind only, in the order drawn, and an
    image waits until enough of its kind have come.  repeats: as for `draws`.  Batches run on over the end
    of an epoch, so a dataset smaller than a batch fits too.
    """
    if wide is None:
        sequence = draws(length, seed, start * batch_size, repeats)
        while True:
            yield list(islice(sequence, batch_size))
    sequence = draws(length, seed, repeats=repeats)
    yield from islice(_grouped(sequence, batch_size, wide.tolist()), start, None)


def _grouped(sequence: Iterator[Key], batch_size: int, wide: list[bool]) -> Iterator[list[Key]]:
    waiting: dict[bool, list[Key]] = {False: [], True: []}
    for key in sequence:
        group = waiting[wide[key[0]]]
        group.append(key)
        if len(group) == batch_size:
            yield list(group)
            group.clear()


def step_of(draw: int, batch_size: int) -> int:
    """The step, from 0, of the batch that holds a draw, unless batches are of one kind each (`wide`)."""
    return draw // batch_size


@dataclass(frozen=True)
class StepSampler:
    """The batches of steps `start` to `stop` - 1, or the share of them that one process trains on."""

    length: int
    batch_size: int
    seed: int
    start: int
    stop: int
    wide: np.ndarray | None = None
    process: int = 0
    processes: int = 1
    repeats: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[Key]]:
        share = self.batch_size // self.processes
        own = slice(self.process * share, (self.process + 1) * share)
        sequence = batches(self.length, self.batch_size, self.seed, self.wide, self.start, self.repeats)
        for batch in islice(sequence, len(self)):
            yield batch[own]
