"""Image file contents to upright 8-bit RGB, for every kind of file that datasets hold."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

# Formats that decode in process.  Left out on purpose: EPS and the like, which call other programs.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM")

# EXIF orientation -> the operation that turns the stored pixels upright (EXIF 2.32, tag 0x0112).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(ValueError):
    """An image file that cannot be used: `problem` is the kind, `detail` what is particular to this file."""

    def __init__(self, problem: str, detail: str = "") -> None:
        super().__init__(f"{problem}: {detail}" if detail else problem)
        self.problem, self.detail = problem, detail


@dataclass(frozen=True)
class Decoded:
    """pixels: (H, W, 3) uint8 RGB, upright; orientation: the EXIF value that was applied, 1 for none."""

    pixels: NDArray[np.uint8]
    orientation: int


def decode_image(data: bytes) -> Decoded:
    """Decode an image file's bytes.

    Grey, palette and CMYK become RGB; 16-bit grey is divided by 257; transparency is laid on white, as
    viewers show it; the EXIF orientation is applied.  Raises ImageError for what is no whole image.
    """
    if not data:
        raise ImageError("the file is empty")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return _decode(image)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError("the file is not an image of a known format") from None
    except Image.DecompressionBombError:
        raise ImageError(f"the image has more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels") from None
    except Exception as error:  # Pillow's decoders raise whatever a damaged file makes them stumble over
        raise ImageError("the file is incomplete or damaged", str(error)) from None


def _decode(image: Image.Image) -> Decoded:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # MPO is a camera's JPEG with a preview behind the picture
        raise ImageError("the file holds several images or frames", str(frames))
    image.load()
    orientation = _orientation(image)
    return Decoded(np.asarray(_turned(_rgb(image), orientation)), orientation)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # damaged EXIF says nothing about the picture
        return 1
    return value if value in _UPRIGHT else 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return Image.fromarray(_eight_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        alpha = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), alpha).convert("RGB")
    return image.convert("RGB")


def _eight_bits(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """(H, W) of more than 8 bits to uint8: integers as 16 bits, floats as 0..1 or 0..255.

    Raises ImageError where the range says that it is neither: a guess would change the image in silence.
    """
    wide = values.astype(np.float64)
    low, high = float(wide.min()), float(wide.max())
    if values.dtype.kind == "f":
        if not (low >= 0 and high <= 255):
            raise ImageError(
                "pixels in floating point that are neither in 0..1 nor in 0..255", f"{low:g} to {high:g}"
            )
        wide *= 255 if high <= 1 else 1
    else:
        if low < 0 or high > 65535:
            raise ImageError("pixels of more than 16 bits", f"{low:g} to {high:g}")
        wide /= 257
    return (wide + 0.5).astype(np.uint8)
