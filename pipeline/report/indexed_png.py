"""Pictures of photographs as PNGs of few bytes."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLORS = 256  # of a palette, which takes one byte a pixel instead of three


def indexed_png(picture: NDArray[np.uint8]) -> bytes:
    """PNG bytes of an (H, W, 3) RGB picture in its 256 most fitting colours; the same for the same picture.

    Without dithering, whose noise would cost more bytes than it hides steps between colours.
    """
    image = Image.fromarray(picture).quantize(COLORS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
