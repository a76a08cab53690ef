"""Label maps of datasets: 8-bit PNG files whose pixel values are classes, whatever colours they show."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.data.pixels import ImageError

_HEADER = b"\x89PNG\r\n\x1a\n"
_BITS, _COLOUR = (
    24,
    25,
)  # places in the file of the bits per value, and of the kind of colour (PNG, section 11.2.2)
_GREY = 0


def decode_label_png(data: bytes) -> NDArray[np.uint8]:
    """(H, W) uint8 values of a palette PNG, as indices, or of an 8-bit grey one.

    Raises ImageError for any other file.  Of a grey PNG with fewer bits, readers scale the values.
    """
    if not data.startswith(_HEADER):
        raise ImageError("its label map is not a PNG")
    if len(data) > _COLOUR and data[_COLOUR] == _GREY and data[_BITS] != 8:
        raise ImageError("its label map is a grey PNG of another depth than 8 bits", f"{data[_BITS]} bits")
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.mode not in ("P", "L"):
                problem = "its label map shows colours instead of classes"
                raise ImageError(problem, f"Pillow's mode {image.mode}, not P or L")
            return np.array(image)
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever a damaged file makes them stumble over
        raise ImageError("its label map is incomplete or damaged", str(error)) from None
