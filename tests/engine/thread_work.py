"""As `map_work`, with PyTorch, which takes each process seconds to import."""

from __future__ import annotations

import cv2
import torch
from threadpoolctl import threadpool_info


def threads_of_libraries(item: int) -> list[int]:
    """Threads of linear algebra, PyTorch and OpenCV."""
    blas = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
    return [max(blas), torch.get_num_threads(), cv2.getNumThreads()]
