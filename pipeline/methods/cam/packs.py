"""Packs of class activation maps: written batch by batch, read with the tags that say whose they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.data.images import ImageStore
from pipeline.data.pack_writer import PackWriter
from pipeline.data.packs import Pack, encode_scores
from pipeline.engine.progress import Progress
from pipeline.errors import UserError
from pipeline.methods.cam.tags import TagSource, sizes_of
from pipeline.models.layers import resize_bilinear

_REMEDY = "run `dvc repro` to make both anew"

Size = tuple[int, int]  # (height, width)
MapsOfBatch = Callable[[list[int], Tensor], list[Tensor]]
"""Image ids and their images (B, 3, H, W) uint8 RGB to the maps of each, (n, h, w) in [0, 1]."""


def write_maps(
    maps_of: MapsOfBatch,
    store: ImageStore,
    labels: TagSource,
    writer: PackWriter,
    batches: list[list[int]],
    device: torch.device,
    name: str,
) -> None:
    """Give `writer` the maps of all images that it lacks, as float16; batches: ids of images of one size."""
    left = set(writer.remaining)
    total = sum(map(len, batches))
    with Progress(f"maps of {name}", total, "images", total - len(left)) as progress:
        for batch in batches:
            # What a killed process left half stored is made again as a whole batch: the last bit of a value
            # may depend on the number of images.
            if left.isdisjoint(batch):
                continue
            pixels = np.stack([store.read(image_id) for image_id in batch]).transpose(0, 3, 1, 2)
            with torch.inference_mode():
                made = maps_of(batch, torch.from_numpy(np.ascontiguousarray(pixels)).to(device))
            for image_id, maps in zip(batch, made, strict=True):
                if image_id in left:
                    writer.add(image_id, encode_scores(maps.cpu().numpy().astype(np.float16)))
                    progress.advance()


def open_maps(folder: Path, labels: TagSource) -> Pack:
    """The pack of maps in `folder`.  Raises UserError when it is missing or is not of these classes."""
    pack = Pack(folder)
    if pack.about.get("classes") != list(labels.classes):
        raise UserError(folder, "classes", f"are not those of {labels.folder}", _REMEDY)
    return pack


def read_maps(pack: Pack, image_id: int, tags: Sequence[int]) -> NDArray[np.float32]:
    """(n, h, w) maps in [0, 1] of the image's n tags.  Raises UserError when there are not n."""
    maps = pack.read(image_id)
    if maps.ndim != 3 or len(maps) != len(tags):
        problem = f"has maps of shape {maps.shape}, and its image {len(tags)} tags"
        raise UserError(pack.folder, f"image {image_id}", problem, _REMEDY)
    return np.asarray(maps, dtype=np.float32)


def full_size(maps: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
    """(n, h, w) maps to (n, height, width), bilinearly; n may be 0."""
    if maps.shape[1:] == size:
        return maps
    resized = resize_bilinear(torch.from_numpy(maps)[None], *size)[0].numpy()
    return np.asarray(resized, dtype=np.float32)


def equal_sizes(labels: TagSource, count: int) -> list[list[int]]:
    """All image ids in batches of at most `count` of one size each: by size, then by id."""
    return list(_batches(sizes_of(labels), count))


def _batches(sizes: Mapping[int, Size], count: int) -> Iterator[list[int]]:
    batch: list[int] = []
    for image_id in sorted(sizes, key=lambda key: (sizes[key], key)):
        if batch and (len(batch) == count or sizes[batch[0]] != sizes[image_id]):
            yield batch
            batch = []
        batch.append(image_id)
    if batch:
        yield batch
