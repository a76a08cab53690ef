"""A dense CRF by the backend that its settings name: on an image, on a batch, or on all images of a stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby, islice
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import params
from pipeline.engine.parallel import Items, map_images
from pipeline.engine.progress import Progress
from pipeline.priors.crf.mean_field import torch_marginals
from pipeline.priors.crf.reference import pydensecrf_marginals

GPU_BATCH = 16  # images that are read before a GPU refines those of equal size together


class Scene(Protocol):
    """What a dense CRF smooths: pixels (H, W, 3) uint8 RGB; probabilities (K, H, W) float32 in [0, 1]."""

    @property
    def pixels(self) -> NDArray[np.uint8]: ...
    @property
    def probabilities(self) -> NDArray[np.float32]: ...


S = TypeVar("S", bound=Scene)
R = TypeVar("R")


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


def smooth_scenes(
    finish: Callable[[S, NDArray[np.float32]], R],
    scenes: Items[S],
    settings: params.DenseCrf,
    processes: int,
    description: str,
    executor: params.Executor,
    device: torch.device,
) -> Iterator[R]:
    """Yield finish(scene, marginals (K, H, W) float32 of a dense CRF) for every scene, in order.

    The one way in which stages smooth what a network says of their images.  On the CPU, each of `processes`,
    or of the executor's cluster, works on a scene with one thread, as `map_images` says; scenes and `finish`
    must then be picklable.  Without a cluster the backend `torch` uses a GPU where `device` is one, and
    `finish` is called here.  Raises what `map_images` raises.
    """
    if settings.backend == "torch" and device.type != "cpu" and not executor.address:
        yield from _on_gpu(finish, scenes, settings, description, device)
        return
    work = partial(_smooth, finish=finish, settings=settings)
    yield from map_images(work, scenes, processes, description, executor)


def _smooth(scene: S, finish: Callable[[S, NDArray[np.float32]], R], settings: params.DenseCrf) -> R:
    return finish(scene, dense_crf(scene.pixels, scene.probabilities, settings))


def _on_gpu(
    finish: Callable[[S, NDArray[np.float32]], R],
    scenes: Items[S],
    settings: params.DenseCrf,
    description: str,
    device: torch.device,
) -> Iterator[R]:
    with Progress(description, len(scenes), "images") as progress:
        waiting = iter(scenes)
        while batch := list(islice(waiting, GPU_BATCH)):
            for _, run in groupby(batch, lambda scene: scene.pixels.shape):
                alike = list(run)
                pixels = torch.from_numpy(np.stack([scene.pixels for scene in alike]))
                scores = torch.from_numpy(np.stack([scene.probabilities for scene in alike])).to(device)
                found = torch_marginals(pixels, scores, settings).cpu().numpy()
                for scene, marginals in zip(alike, found, strict=True):
                    yield finish(scene, marginals)
                    progress.advance()
