"""A dense CRF by the backend that its settings name: on an image, on a batch, or on all images of a stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby, islice
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import params
from pipeline.engine.parallel import map_images
from pipeline.engine.progress import Progress
from pipeline.priors.crf.mean_field import torch_marginals
from pipeline.priors.crf.reference import pydensecrf_marginals

T = TypeVar("T")
Scene = tuple[NDArray[np.uint8], NDArray[np.float32]]  # (H, W, 3) uint8 RGB, (K, H, W) probabilities

GPU_BATCH = 16  # images that are read before a GPU refines those of equal size together


def dense_crf(
    image: NDArray[np.uint8], probabilities: NDArray[np.float32], settings: params.DenseCrf
) -> NDArray[np.float32]:
    """Mean-field marginals of a fully connected CRF (Kraehenbuehl and Koltun, arXiv 1210.5644).

    image: (H, W, 3) uint8 RGB; probabilities: (K, H, W) in [0, 1] over K classes, which need not add up to 1.
    Returns (K, H, W) float32, adding up to 1; computed on the CPU by the backend that the settings name.
    """
    if settings.backend == "pydensecrf":
        return pydensecrf_marginals(image, probabilities, settings)
    pixels = torch.from_numpy(np.array(image[None]))  # a copy: PyTorch warns of arrays that are read-only
    scores = torch.from_numpy(np.array(probabilities[None], dtype=np.float32))
    return np.asarray(torch_marginals(pixels, scores, settings)[0].numpy(), dtype=np.float32)


def dense_crf_batch(images: Tensor, probabilities: Tensor, settings: params.DenseCrf) -> Tensor:
    """The same for images of equal size: (B, H, W, 3) uint8 and (B, K, H, W) -> (B, K, H, W) float32.

    The result lies on the device of `probabilities`, where the backend `torch` also computes it.
    """
    if settings.backend == "torch":
        return torch_marginals(images, probabilities, settings)
    pairs = zip(images.cpu().numpy(), probabilities.float().cpu().numpy(), strict=True)
    refined = [pydensecrf_marginals(image, scores, settings) for image, scores in pairs]
    return torch.from_numpy(np.stack(refined)).to(probabilities.device)


def crf_labels(
    load: Callable[[T], Scene],
    items: Sequence[T],
    settings: params.DenseCrf,
    device: torch.device,
    processes: int,
) -> Iterator[NDArray[np.uint8]]:
    """Yield the most probable class of every pixel of load(item), (H, W) uint8, in the order of `items`.

    On the CPU, each of `processes` works on an image with one thread; `load` must then be picklable.  The
    backend `torch` uses a GPU instead where `device` is one.
    """
    if settings.backend == "torch" and device.type != "cpu":
        yield from _on_gpu(load, items, settings, device)
        return
    yield from map_images(partial(_labels, load=load, settings=settings), items, processes, "dense CRF")


def _labels(item: T, load: Callable[[T], Scene], settings: params.DenseCrf) -> NDArray[np.uint8]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        image, probabilities = load(item)
        return np.asarray(dense_crf(image, probabilities, settings).argmax(0), dtype=np.uint8)
    finally:
        torch.set_num_threads(threads)  # `processes: 1` works in the caller's process


def _on_gpu(
    load: Callable[[T], Scene], items: Sequence[T], settings: params.DenseCrf, device: torch.device
) -> Iterator[NDArray[np.uint8]]:
    with Progress("dense CRF", len(items), "images") as progress:
        waiting = iter(items)
        while batch := [load(item) for item in islice(waiting, GPU_BATCH)]:
            for _, run in groupby(batch, lambda scene: scene[1].shape):
                images, probabilities = (np.stack(part) for part in zip(*run, strict=True))
                scores = torch.from_numpy(probabilities).to(device)
                for labels in torch_marginals(torch.from_numpy(images), scores, settings).argmax(1).cpu():
                    yield labels.numpy().astype(np.uint8)
                    progress.advance()
