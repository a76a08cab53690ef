"""How much of a large matrix of cosines is held at a time."""

from __future__ import annotations

import torch

# What stays in a core's cache, and what a GPU has room for.  All pixels of 16 crops of 512 and their segments
# would be billions of entries.
CPU_ENTRIES = 2**18
GPU_ENTRIES = 2**26


def portion(columns: int, device: torch.device) -> int:
    """Rows, 1 at least, of a matrix of so many columns that are held at a time."""
    entries = GPU_ENTRIES if device.type == "cuda" else CPU_ENTRIES
    return max(1, entries // max(columns, 1))
