"""What the C library does with memory that is freed."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_KEPT_BYTES = 2**30
_LARGEST_FROM_HEAP = 2**25  # the most that glibc accepts


def keep_freed_memory() -> None:
    """Keep freed memory in the process, up to 1 GiB at the end of a heap, where the C library is glibc.

    What lies between blocks in use stays, too, in blocks of up to 32 MiB.  By itself glibc gives large blocks
    back at once and gets them anew at the next step, page by page: a sixth of the CPU time of MAL's training
    on the demo, a twenty-fifth of CondInst's.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_MMAP_THRESHOLD, _LARGEST_FROM_HEAP)
