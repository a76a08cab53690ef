"""CIE LAB on the device, for losses that compare the colours of pixels."""

from __future__ import annotations

import torch
from torch import Tensor

# sRGB (IEC 61966-2-1): below the threshold the curve is a line, above it a power.
SRGB_THRESHOLD = 0.04045
SRGB_SLOPE = 12.92
SRGB_OFFSET = 0.055
SRGB_EXPONENT = 2.4

# Linear RGB to CIE XYZ for the D65 white point and the 2 degree observer.
RGB_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
WHITE = (0.95047, 1.0, 1.08883)

# CIE 1976: a cube root, with a line near black.
LAB_THRESHOLD = 0.008856
LAB_SLOPE = 7.787
LAB_OFFSET = 16 / 116


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Convert (B, 3, H, W) sRGB in 0..255 to (B, 3, H, W) float32 LAB: L in 0..100, a and b unscaled.

    The colour matrix is applied element by element: under autocast a matrix product would be rounded
    to bfloat16, and with TF32 on a GPU to 10 bits.
    """
    rgb = rgb.float() / 255
    curve = ((rgb + SRGB_OFFSET) / (1 + SRGB_OFFSET)) ** SRGB_EXPONENT
    linear = torch.where(rgb > SRGB_THRESHOLD, curve, rgb / SRGB_SLOPE)
    # (1, 3, 3, 1, 1) * (B, 1, 3, H, W), summed over the RGB axis
    matrix = torch.tensor(RGB_TO_XYZ, device=rgb.device)[None, :, :, None, None]
    xyz = (matrix * linear[:, None]).sum(dim=2)
    relative = xyz / torch.tensor(WHITE, device=rgb.device)[:, None, None]
    root = relative.clamp(min=LAB_THRESHOLD) ** (1 / 3)
    x, y, z = torch.where(relative > LAB_THRESHOLD, root, LAB_SLOPE * relative + LAB_OFFSET).unbind(dim=1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=1)
