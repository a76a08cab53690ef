"""The sum behind the pairwise loss, with its gradient: each pair of pixels once, box by box.

For a pair with logits x and y the probability of equal labels is
s(x) s(y) + s(-x) s(-y), s being the sigmoid.  Its negative logarithm is, in closed form,

    softplus(x) + softplus(y) - softplus(x + y),    with the gradient   s(x) - s(x + y)   in x.

Splitting softplus(v) into (v + |v|) / 2 + log(1 + exp(-|v|)) leaves

    (|x| + |y| - |x + y|) / 2 + r(x) + r(y) - r(x + y),    r(v) = log(1 + exp(-|v|)),

where the first part is exactly 0 for logits of one sign, and nothing overflows or cancels.

A straightforward version gathers the neighbours of all pixels: size^2 - 1 copies of every map.  Here

* a pair and its mirror image are evaluated once, with the sum of their two weights;
* per-pixel terms (r(x), s(x)) are evaluated once per pixel and multiplied by the pixel's total weight;
* only a window round each box is looked at, since a pair without a pixel in the box has no weight;
* windows are laid end to end in one flat vector, in which the neighbour at (dy, dx) is dy * width + dx
  entries further on: every operation runs over contiguous memory.  Entries that wrap round into the
  next row or window have no weight, because a window holds all neighbours of its box that exist;
* the windows go through in portions that fit a cache, and the gradient is made in the same pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from pipeline.methods.box_supervision.neighbours import facing

# Pixels that go through at a time.  CPU: the dozen vectors in use (6 MB) stay in its caches.
# Accelerators: enough pixels to fill them, and some 200 MB of vectors.
CPU_PORTION = 2**17
DEVICE_PORTION = 2**22
LARGEST_GROWTH = 4  # a window joins a portion of larger ones only if that costs it less than this factor


class PairSum(torch.autograd.Function):
    """Sum of the weighted pair terms, sum of the weights, number of pairs with a centre in a box.

    All are scalars, of all proposals together; or, with `apart`, of each proposal by itself: (N,).
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        box_masks: Tensor,
        pairs: Tensor,
        images: Tensor,
        offsets: list[tuple[int, int]],
        apart: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """logits: (N, H, W) float; box_masks: (N, H, W) bool; images: (N,) int64, whose pairs are meant.

        pairs: (B, K, H, W) bool, or float weights; offsets: the K neighbours (dy, dx), opposite ones
        at entries j and -1 - j.
        """
        count_type = pairs.dtype if pairs.is_floating_point() else torch.int32
        inside, degrees = _without_border(pairs, offsets), pairs.sum(dim=1, dtype=count_type)
        sources = images.tolist()
        gradient = torch.zeros_like(logits, memory_format=torch.contiguous_format)
        sums, counts, areas = [], [], []
        order: list[int] = []  # of the proposals in the portions
        for windows in _portions(box_masks, reach=max(dx for _, dx in offsets)):
            in_images = [(sources[proposal], rows, columns) for proposal, rows, columns in windows]
            values = torch.stack([logits[window] for window in windows])  # (n, h, w)
            masks = torch.stack([box_masks[window] for window in windows]).view(torch.uint8)
            degree = torch.stack([degrees[window] for window in in_images]).mul_(masks)
            weights = torch.stack([inside[i, :, rows, columns] for i, rows, columns in in_images], dim=1)
            weights.mul_(masks)  # (K, n, h, w)
            steps = [dy * values.shape[2] + dx for dy, dx in offsets[len(offsets) // 2 :]]
            summed = _Sums(len(windows) if apart else 0, values.numel())
            total, slope = _flat_sum(values.flatten(), weights.flatten(1), steps, summed)
            for window, part in zip(windows, slope.view_as(values), strict=True):
                gradient[window] = part
            order += [proposal for proposal, _, _ in windows]
            sums.append(total)
            counts.append(summed(degree.flatten(), count_type))
            areas.append(summed(masks.flatten(), torch.int32))
        ctx.save_for_backward(gradient)
        places = torch.tensor(order, dtype=torch.int64, device=logits.device) if apart else None
        zero = logits.new_zeros(len(logits) if apart else ())
        total, counted, area = (
            _joined(parts, zero.to(kind), places)
            for parts, kind in ((sums, zero.dtype), (counts, count_type), (areas, torch.int32))
        )
        possible = area * len(offsets)
        ctx.mark_non_differentiable(counted, possible)
        return total, counted, possible

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor, *unused: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the gradient that the forward pass left."""
        (gradient,) = ctx.saved_tensors
        return gradient * slope.reshape(-1, 1, 1), None, None, None, None, None


_Window = tuple[int, slice, slice]  # proposal (or image), rows, columns: indexes an (N, H, W) tensor


class _Extent(NamedTuple):
    """The part of a proposal's map that its box and their neighbours occupy."""

    proposal: int
    top: int
    left: int
    height: int
    width: int

    @property
    def area(self) -> int:
        return self.height * self.width

    def window(self, height: int, width: int, shape: torch.Size) -> _Window:
        """A window of the given size, at least the extent's, round the extent and within the map."""
        top, left = min(self.top, shape[1] - height), min(self.left, shape[2] - width)
        return self.proposal, slice(top, top + height), slice(left, left + width)


class _Sums(NamedTuple):
    """Adds up the entries of a flat map of `length`: all, or those of each of `windows` equal parts."""

    windows: int  # 0: all
    length: int

    def __call__(self, values: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """() or (windows,).  values: (length,), or fewer, the last ones being left out."""
        if not self.windows:
            return values.sum(dtype=dtype)
        padded = F.pad(values, (0, self.length - len(values)))
        return padded.view(self.windows, -1).sum(dim=1, dtype=dtype)


def _joined(parts: list[Tensor], zero: Tensor, places: Tensor | None) -> Tensor:
    """The sum of scalars; or, with `places` in the vector `zero`, what belongs there."""
    if places is None:
        return torch.stack([zero, *parts]).sum()
    joined = zero.clone()
    if parts:
        joined[places] = torch.cat(parts)
    return joined


def _flat_sum(logits: Tensor, pairs: Tensor, steps: list[int], summed: _Sums) -> tuple[Tensor, Tensor]:
    """Sums of the weighted pair terms of one flat map, and their gradient.

    logits: (P,).  pairs: (2 * len(steps), P) uint8, 1 where an entry counts its neighbour, or weights; the
    second half looks `steps` ahead, the first half the same steps behind, in reverse order.
    """
    half = logits.abs() / 2
    degree, pull = torch.zeros_like(logits), torch.zeros_like(logits)  # sums of w and of w * s(x + y)
    total = summed(torch.zeros_like(logits))
    behind, ahead = pairs.chunk(2)
    for step, forward, backward in zip(steps, ahead, behind.flip(0), strict=True):
        if step <= 0:  # the window is narrower than the neighbour is far, so no such pair exists
            continue
        weight = (forward[:-step] + backward[step:]).to(logits.dtype)
        joint = logits[:-step] + logits[step:]
        half_joint = joint.abs().div_(2)
        term = (half[:-step] + half[step:]).sub_(half_joint)
        term -= _residual_(half_joint)
        total += summed(term.mul_(weight))
        tilt = joint.sigmoid_().mul_(weight)
        degree[:-step] += weight
        degree[step:] += weight
        pull[:-step] += tilt
        pull[step:] += tilt
    total += summed(_residual_(half).mul_(degree))
    return total, degree.mul_(logits.sigmoid()).sub_(pull)


def _residual_(half: Tensor) -> Tensor:
    """log(1 + exp(-2 * half)), in place.  `exp2` takes a third of the time of `exp` on a CPU."""
    return half.mul_(-2 / math.log(2)).exp2_().log1p_()


def _without_border(pairs: Tensor, offsets: list[tuple[int, int]]) -> Tensor:
    """`pairs` (B, K, H, W), if bool as uint8, 0 where the neighbour lies outside the map."""
    inside = torch.zeros_like(pairs, dtype=pairs.dtype if pairs.is_floating_point() else torch.uint8)
    for j, (dy, dx) in enumerate(offsets):
        rows, columns = facing(pairs.shape[2], dy)[0], facing(pairs.shape[3], dx)[0]
        inside[:, j, rows, columns] = pairs[:, j, rows, columns]
    return inside


def _portions(box_masks: Tensor, reach: int) -> Iterator[list[_Window]]:
    """Windows round the (N, H, W) masks and all neighbours of their pixels, in portions of equal windows.

    Large windows come first, so that those of a portion differ little before they are made equal.
    """
    limit = CPU_PORTION if box_masks.device.type == "cpu" else DEVICE_PORTION
    extents = sorted(_extents(box_masks, reach), key=lambda extent: -extent.area)
    start = 0
    while start < len(extents):
        stop, height, width = start, 0, 0
        for extent in extents[start:]:
            taller, wider = max(height, extent.height), max(width, extent.width)
            full = (stop - start + 1) * taller * wider > limit
            if stop > start and (full or taller * wider > LARGEST_GROWTH * extent.area):
                break
            stop, height, width = stop + 1, taller, wider
        yield [extent.window(height, width, box_masks.shape) for extent in extents[start:stop]]
        start = stop


def _extents(box_masks: Tensor, reach: int) -> list[_Extent]:
    """Where the masks that are not empty lie, widened by `reach` on all sides within the map."""
    rows, columns = (box_masks.view(torch.uint8).amax(dim=dim) for dim in (2, 1))
    spans = []
    for line, length in ((rows, box_masks.shape[1]), (columns, box_masks.shape[2])):
        spans.append((line.argmax(dim=1) - reach).clamp(min=0))
        spans.append((length - line.flip(1).argmax(dim=1) + reach).clamp(max=length))
    listed = torch.stack((*spans, rows.amax(dim=1)), dim=1).tolist()
    return [
        _Extent(proposal, top, left, bottom - top, right - left)
        for proposal, (top, bottom, left, right, filled) in enumerate(listed)
        if filled
    ]
