"""Small folders in the layouts of VOC 2012 and SBD, for tests that read or damage them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

HEIGHT, WIDTH = 24, 32
CAT, DOG, PERSON = 8, 12, 15


def class_map() -> NDArray[np.uint8]:
    """(24, 32): two cats that touch, with a void border below, and a person."""
    values = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    values[2:10, 2:14] = CAT
    values[10, 2:14] = 255
    values[12:22, 20:26] = PERSON
    return values


def object_map() -> NDArray[np.uint8]:
    values = np.where(class_map() == PERSON, 3, class_map())
    values[2:10, 2:8], values[2:10, 8:14] = 1, 2
    return values.astype(np.uint8)


def save_palette(path: Path, values: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values, mode="P")
    image.putpalette(np.random.default_rng(1).integers(0, 256, 768).astype(np.uint8).tobytes())
    image.save(path)


def write_image(folder: Path, name: str) -> None:
    path = folder / "JPEGImages" / f"{name}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    level = sum(map(ord, name)) % 256
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), level, np.uint8)).save(path)


def write_list(path: Path, *names: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


BOXES = """<annotation><object><name>dog</name><difficult>0</difficult><part><name>head</name></part>
<bndbox><xmin>1</xmin><ymin>3</ymin><xmax>10</xmax><ymax>24</ymax></bndbox></object>
<object><name>cat</name><bndbox><xmin>5.5</xmin><ymin>5</ymin><xmax>40</xmax><ymax>9</ymax></bndbox>
<difficult>1</difficult></object></annotation>"""


def write_voc(folder: Path) -> None:
    """2007_000001 of train with all maps, 2007_000002 of train with classes and boxes, 2007_000003 of val."""
    for number in (1, 2, 3):
        write_image(folder, f"2007_00000{number}")
        save_palette(folder / "SegmentationClass" / f"2007_00000{number}.png", class_map())
    save_palette(folder / "SegmentationObject" / "2007_000001.png", object_map())
    (folder / "Annotations").mkdir()
    (folder / "Annotations" / "2007_000002.xml").write_text(BOXES)
    write_list(folder / "ImageSets/Segmentation/train.txt", "2007_000002", "2007_000001")
    write_list(folder / "ImageSets/Segmentation/val.txt", "2007_000003")


def write_sbd(voc: Path, sbd: Path) -> None:
    """SBD's dataset folder: 2008_000009 alone, and maps of the dog's class for VOC's own images."""
    write_image(voc, "2008_000009")
    for name in ("2007_000001", "2007_000003", "2008_000009"):
        for kind, values in (("cls", class_map()), ("inst", object_map())):
            (sbd / kind).mkdir(parents=True, exist_ok=True)
            values = np.where(values == 255, 0, values)
            if kind == "cls":
                values[values == CAT] = DOG
            content = {"Segmentation": values, "Categories": np.array([[DOG], [DOG], [PERSON]])}
            savemat(sbd / kind / f"{name}.mat", {"GTcls" if kind == "cls" else "GTinst": content})
    write_list(sbd / "train.txt", "2007_000003", "2008_000009")
    write_list(sbd / "val.txt", "2007_000001")
