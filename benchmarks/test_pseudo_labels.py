"""Writing pseudo-labels a shard at a time against collecting them: peak memory at 1,000 and 20,000 boxes.

Run with `-s` to see the figures; see benchmarks/README.md.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.measuring import extra_mib, needs_peak_memory, run_alone
from pipeline.data.masks import encode
from pipeline.files import read_json, write_json
from pipeline.labels.pseudo import Labelled, PseudoLabels

FEW, MANY = 1_000, 20_000
SIDE, CHUNK = 480, 32
WAYS = ["streamed", "collected"]


def box_file(path: Path, count: int) -> Path:
    """`count` boxes, eight to an image."""
    rng = np.random.default_rng(0)
    boxes = np.concatenate([rng.uniform(0, 200, (count, 2)), rng.uniform(20, 250, (count, 2))], axis=1)
    annotations = [
        {"id": index, "image_id": index // 8, "category_id": 1, "bbox": box, "area": 400.0, "iscrowd": 0}
        for index, box in enumerate(boxes.round(2).tolist())
    ]
    images = [
        {"id": image, "file_name": f"{image:012d}.jpg", "width": SIDE, "height": SIDE}
        for image in range(-(-count // 8))
    ]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    write_json(path, {"info": {"kind": "boxes"}, **content}, indent=None)
    return path


@cache
def discs() -> list[dict[str, Any]]:
    """Masks of some 200 bytes."""
    y, x = np.mgrid[:SIDE, :SIDE]
    wavy = np.hypot(y - 240, x - 200) + 9 * np.sin(x / 9)
    return [encode((wavy < 90 + radius)[None])[0] for radius in range(20)]


def model() -> Iterator[tuple[dict[str, Any], float]]:
    """Masks for ever, each a text of its own as from a real model, and a score."""
    while True:
        for mask in discs():
            yield {"size": list(mask["size"]), "counts": "".join(list(mask["counts"]))}, 0.8


def streamed(source: Path, folder: Path) -> None:
    labels, masks = PseudoLabels(source, folder / "resume", "key", min_side=2), model()
    remaining = labels.remaining
    for start in range(0, len(remaining), CHUNK):
        labels.add(Labelled(int(key), *next(masks)) for key in remaining[start : start + CHUNK])
    labels.finish(folder / "out", {})


def collected(source: Path, folder: Path) -> None:
    """The straightforward way: everything in one dict, written at the end."""
    content, masks = read_json(source), model()
    rows = [
        {**row, "segmentation": mask, "score": score}
        for row, (mask, score) in zip(content["annotations"], masks, strict=False)
    ]
    write_json(folder / "out" / "labels.json", {**content, "annotations": rows}, indent=None)


def measure(way: str, count: int) -> tuple[float, float]:
    """(MiB by which the peak resident size grows, seconds of CPU) after a small labelling as warm-up."""
    work = {"streamed": streamed, "collected": collected}[way]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small, source = box_file(folder / "small.json", 64), folder / "boxes.json"
        run_alone(__file__, "boxes", count, source)
        work(small, folder / "small")
        start = time.process_time()
        return extra_mib(lambda: work(source, folder)), time.process_time() - start


@needs_peak_memory
@pytest.mark.parametrize("way", WAYS)
def test_memory_and_time(way: str) -> None:
    """Prints both; streamed, 19,000 more boxes must not take the memory that their masks would."""
    grown = {}
    for count in (FEW, MANY):
        grown[count], seconds = json.loads(run_alone(__file__, way, count))
        print(f"\n{way}: {count} boxes, {grown[count]:.1f} MiB, {count / seconds:.0f} boxes/s", end="")
    if way == "streamed":
        assert grown[MANY] - grown[FEW] < 5


if __name__ == "__main__":
    if sys.argv[1] == "boxes":
        box_file(Path(sys.argv[3]), int(sys.argv[2]))
    else:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
