"""A PNG that says to have many pixels and holds none."""

from __future__ import annotations

import struct
import zlib


def png_header(width: int, height: int) -> bytes:
    """The bytes of a grey 8-bit PNG without image data."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IEND", b"")
