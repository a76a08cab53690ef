"""How well an encoder's tokens separate object and background (MAL, arXiv 2301.03992, Eq. 6)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def foreground_cells(masks: Tensor, side: int) -> Tensor:
    """(B, S, S) masks of 0 and 1 to (B, side, side) bool: cells at least half of which is foreground.

    Raises ValueError unless S is a multiple of `side`.
    """
    cell = masks.shape[-1] // side
    if masks.shape[-2:] != (side * cell, side * cell):
        raise ValueError(f"masks of {tuple(masks.shape[-2:])} do not divide into {side} x {side} cells")
    covered = masks.reshape(-1, side, cell, side, cell).sum(dim=(2, 4), dtype=torch.float32)
    return covered >= cell * cell / 2


def clustering_score(tokens: Tensor, foreground: Tensor) -> Tensor:
    """(B, d, n, n) tokens and (B, n, n) bool to (B,) scores in [0, 4], lower is better.

    The mean over tokens of the squared distance between the token's direction and that of its side's
    centre, which is the mean of the raw tokens: 2 (1 - mean cosine).  NaN where a side is empty; such
    crops do not count.
    """
    tokens = tokens.flatten(2).float()  # (B, d, N)
    sides = torch.stack((~foreground, foreground), dim=1).flatten(2).float()  # (B, 2, N)
    counts = sides.sum(dim=2)  # (B, 2)
    centres = torch.einsum("bdn,bsn->bds", tokens, sides) / counts[:, None]
    own = torch.einsum("bds,bsn->bdn", F.normalize(centres, dim=1), sides)
    scores = (F.normalize(tokens, dim=1) - own).square().sum(dim=1).mean(dim=1)
    return scores.masked_fill((counts == 0).any(dim=1), torch.nan)
