"""How large pictures are in figures."""

from __future__ import annotations

LONG_SIDE = 384  # pixels of a panel of the galleries


def panel_size(height: int, width: int, long_side: int = LONG_SIDE) -> tuple[int, int]:
    """(height, width) in which an image is drawn: a multiple of a small image's, else reduced."""
    longer = max(height, width)
    if longer < long_side:
        factor = long_side // longer
        return height * factor, width * factor
    return max(1, round(height * long_side / longer)), max(1, round(width * long_side / longer))
