"""Which images make up the batch of a step: a pure function of the dataset's size, the seed and the step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice

import numpy as np

Key = tuple[int, int]
"""(index of the image in the dataset, draw): `draw` numbers all images ever drawn, from 0."""


def draws(length: int, seed: int, start: int = 0) -> Iterator[Key]:
    """The endless sequence of images from draw `start` on: every epoch is a permutation of its own."""
    for epoch in count(start // length):
        order = np.random.default_rng((seed, epoch)).permutation(length).tolist()
        first = epoch * length
        for draw in range(max(first, start), first + length):
            yield order[draw - first], draw


def batches(
    length: int, batch_size: int, seed: int, wide: np.ndarray | None = None, start: int = 0
) -> Iterator[list[Key]]:
    """The endless sequence of batches from step `start` on.

    wide: (length,) bool; if given, a batch holds images of one kind only, in the order drawn, and an
    image waits until enough of its kind have come.  Batches run on over the end of an epoch, so a
    dataset smaller than a batch fits too.
    """
    if wide is None:
        sequence = draws(length, seed, start * batch_size)
        while True:
            yield list(islice(sequence, batch_size))
    yield from islice(_grouped(draws(length, seed), batch_size, wide.tolist()), start, None)


def _grouped(sequence: Iterator[Key], batch_size: int, wide: list[bool]) -> Iterator[list[Key]]:
    waiting: dict[bool, list[Key]] = {False: [], True: []}
    for key in sequence:
        group = waiting[wide[key[0]]]
        group.append(key)
        if len(group) == batch_size:
            yield list(group)
            group.clear()


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

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[Key]]:
        share = self.batch_size // self.processes
        own = slice(self.process * share, (self.process + 1) * share)
        sequence = batches(self.length, self.batch_size, self.seed, self.wide, self.start)
        for batch in islice(sequence, len(self)):
            yield batch[own]
