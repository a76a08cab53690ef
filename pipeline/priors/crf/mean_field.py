"""Dense CRF inference in PyTorch, on the CPU or a GPU: the reference's mean field with sparse sums."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline import params
from pipeline.priors.crf.lattice import LatticeKernel
from pipeline.priors.crf.reference import LEAST_PROBABILITY
from pipeline.priors.crf.smoothness import Kernel, places, smoothness_kernel

VECTOR = 8  # classes: PyTorch's softmax over fewer than a vector is several times as slow
ABSENT = -1e4  # the logit of a class that is there to fill the vector
GPU_PIXELS = 1 << 22  # of images that are refined at once on a GPU: some 3 GiB with 21 classes


def torch_marginals(images: Tensor, probabilities: Tensor, settings: params.DenseCrf) -> Tensor:
    """What `pipeline.priors.crf.inference.dense_crf_batch` says, on the device of `probabilities`.

    A GPU works on several images at once; the CPU on one, which fits its cache better.
    """
    count, _, height, width = probabilities.shape
    step = 1 if probabilities.device.type == "cpu" else max(1, GPU_PIXELS // (height * width))
    if count <= step:
        return infer(images.to(probabilities.device), probabilities, settings)
    parts = [
        infer(
            images[start : start + step].to(probabilities.device),
            probabilities[start : start + step],
            settings,
        )
        for start in range(0, count, step)
    ]
    return torch.cat(parts)


def infer(images: Tensor, probabilities: Tensor, settings: params.DenseCrf) -> Tensor:
    """All images in one piece: (B, H, W, 3) uint8 and (B, K, H, W) -> (B, K, H, W) float32."""
    count, classes, height, width = probabilities.shape
    kernels = _kernels(images, settings)
    by_class = probabilities.transpose(0, 1).reshape(classes, -1).float()
    if classes == 2:
        marginals = _two_classes(by_class, kernels, settings.iterations)
    else:
        marginals = _many_classes(by_class, kernels, settings.iterations)
    return marginals.view(classes, count, height, width).transpose(0, 1).contiguous()


def _kernels(images: Tensor, settings: params.DenseCrf) -> list[Kernel]:
    """Those that have a weight."""
    count, height, width, _ = images.shape
    kernels: list[Kernel] = []
    if settings.appearance_weight:
        where = places(height, width, count, images.device) / settings.appearance_std
        colors = images.reshape(-1, 3).t().float() / settings.appearance_color_std
        kernels.append(LatticeKernel(torch.cat([where, colors]), settings.appearance_weight, count))
    if settings.smoothness_weight:
        std, weight = settings.smoothness_std, settings.smoothness_weight
        kernels.append(smoothness_kernel(count, height, width, std, weight, images.device))
    return kernels


def _messages(kernels: Sequence[Kernel], values: Tensor, logits: Tensor) -> Tensor:
    """logits + the sum of all kernels times `values`, (N, C)."""
    if not kernels:
        return logits
    total = kernels[0](values).add_(logits)
    for kernel in kernels[1:]:
        total.add_(kernel(values))
    return total


def _many_classes(probabilities: Tensor, kernels: Sequence[Kernel], iterations: int) -> Tensor:
    """(K, N) marginals of (K, N) probabilities.

    Classes that no pixel gives more than the least probability have equal marginals at every step: one
    column stands for all of them, so that images with few of the classes cost what those few cost.
    """
    classes = len(probabilities)
    lowest = (probabilities.amax(1) <= LEAST_PROBABILITY).nonzero()[:, 0].tolist()
    kept = [index for index in range(classes) if index not in lowest[1:]]
    logits = _logits(probabilities if len(kept) == classes else probabilities[kept])
    equal, shared = len(lowest), kept.index(lowest[0]) if lowest else 0
    if equal > 1:
        logits[:, shared] += math.log(equal)
    marginals = torch.softmax(logits, 1)
    for step in range(iterations + 1):
        if step:
            torch.softmax(_messages(kernels, marginals, logits), 1, out=marginals)
        if equal > 1:
            marginals[:, shared] /= equal
    result = marginals.t()[: len(kept)].contiguous()
    if equal > 1:
        result = result[[kept.index(lowest[0] if index in lowest else index) for index in range(classes)]]
    return result


def _logits(probabilities: Tensor) -> Tensor:
    """(N, K) minus the unary energies, with columns of absent classes where K is small."""
    classes, pixels = probabilities.shape
    if classes >= VECTOR:
        logits = probabilities.t().contiguous()
        return logits.clamp_(LEAST_PROBABILITY, 1).log_()
    logits = probabilities.new_full((pixels, VECTOR), ABSENT)
    logits[:, :classes] = probabilities.clamp(LEAST_PROBABILITY, 1).log_().t()
    return logits


def _two_classes(probabilities: Tensor, kernels: Sequence[Kernel], iterations: int) -> Tensor:
    """(2, N) marginals of (2, N) probabilities.

    Only the second class is filtered: the first one's marginal is 1 minus that, and kernels are linear.
    """
    first, second = probabilities.clamp(LEAST_PROBABILITY, 1).log_()[:, :, None]
    own = second - first
    constant = own - _messages(kernels, torch.ones_like(own), torch.zeros_like(own))
    marginals = own.sigmoid()
    for _ in range(iterations):
        # Not in place: without kernels, the sum is `constant` itself.
        marginals = _messages(kernels, 2 * marginals, constant).sigmoid()
    return torch.stack([1 - marginals[:, 0], marginals[:, 0]])
