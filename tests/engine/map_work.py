"""What other processes do in the tests of the map: they import it by its name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.data.images import read_image
from pipeline.errors import UserError


class FileImages(NamedTuple):
    """Images by their index; every process reads them itself."""

    folder: str
    names: tuple[str, ...]

    def read(self, image_id: int) -> NDArray[np.uint8]:
        return read_image(Path(self.folder) / self.names[image_id])


def square(item: int) -> int:
    return item * item


def slow_square(item: int) -> int:
    time.sleep(0.05)
    return item * item


def who(item: int) -> int:
    """The process, after long enough that others get work, too."""
    time.sleep(0.05)
    return os.getpid()


def who_at_once(item: int) -> int:
    return os.getpid()


def sleep_and_tell(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def square_but_die_once(folder: Path, fatal: int, item: int) -> int:
    """The process that works on `fatal` is killed, if it is the first one that does; notes all calls."""
    time.sleep(0.02)
    with (folder / f"{item}").open("a") as file:
        file.write("called\n")
    if item == fatal and len((folder / f"{item}").read_text().splitlines()) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return item * item


def die(item: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return item


def refuse_seven(item: int) -> int:
    if item == 7:
        raise UserError("seven.png", "image 7", "is a seven", "count without it")
    return item
