"""Batches from a dataset, read in this process or ahead of time in others."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from pipeline.errors import UserError

T = TypeVar("T")


class _Reading(Dataset[Any], Generic[T]):
    """The dataset, with a user's mistake as a value: an exception from another process loses its fields."""

    def __init__(self, dataset: Dataset[T]) -> None:
        self.dataset = dataset

    def __getitem__(self, key: Any) -> T | tuple[str, str, str, str]:
        try:
            return self.dataset[key]
        except UserError as error:
            return error.file, error.record, error.problem, error.remedy


def load_batches(dataset: Dataset[T], keys: Iterable[list[Any]], workers: int) -> Iterator[list[T]]:
    """The batches of `keys` in their order, the same whatever the number of workers.

    keys: for each batch, a list of what the dataset takes, as a `StepSampler` gives; or lists of indices.
    Raises UserError as the dataset does.
    """
    # A plain fork would copy locks of running threads and open files into the workers.  The server that
    # they are forked from instead imports torch once for all.
    context = multiprocessing.get_context("forkserver") if workers else None
    if context is not None:
        context.set_forkserver_preload([__name__])
    loader = DataLoader(
        _Reading(dataset),
        batch_sampler=keys,
        num_workers=workers,
        collate_fn=_as_list,
        # Of its own, so that the loader draws nothing from the generator that training uses.
        generator=torch.Generator(),
        worker_init_fn=_start_worker if workers else None,
        multiprocessing_context=context,
    )
    for batch in loader:
        for item in batch:
            if isinstance(item, tuple):
                raise UserError(*item)
        yield batch


def _as_list(items: list[Any]) -> list[Any]:
    return items


def _start_worker(_: int) -> None:
    """Ctrl-C reaches every process of a terminal: the training process stops its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
