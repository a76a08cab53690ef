"""The picture of class activation maps."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pipeline.data.label_codes import UNLABELLED, VOID
from pipeline.report.cam_preview import SIDE, TALLEST, CamScene, cam_preview, overlay, painted
from pipeline.report.semantic_palette import class_shades

CLASSES = ["background", *"abcde"]
SHADES = np.zeros((6, 3))
SHADES[2], SHADES[5] = (1, 0, 0), (0, 0, 1)


def scene() -> CamScene:
    maps = np.zeros((2, 4, 6), dtype=np.float16)
    maps[0, :, 0], maps[1, :, 1], maps[:, :, 2] = 1, 0.5, (np.array([[0.25], [0.5]]))
    labels = np.zeros((4, 6), dtype=np.uint8)
    labels[0, :4] = (2, 5, UNLABELLED, VOID)
    return CamScene("a.png", np.full((4, 6, 3), 51, dtype=np.uint8), (2, 5), maps, labels)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_the_strongest_map_colours_the_grey_image() -> None:
    made = overlay(scene(), SHADES)
    np.testing.assert_allclose(made[0, 0], [1, 0, 0])
    np.testing.assert_allclose(made[0, 1], [0.1, 0.1, 0.6])
    np.testing.assert_allclose(made[0, 2], [0.1, 0.1, 0.6])
    np.testing.assert_allclose(made[0, 5], [0.2, 0.2, 0.2])


def test_codes_have_colours_of_their_own() -> None:
    made = painted(scene().labels, SHADES)[0]
    assert made[0].tolist() == [1, 0, 0]
    assert made[1].tolist() == [0, 0, 1]
    assert len({tuple(color) for color in made.tolist()}) == 5


def test_the_picture_repeats_and_takes_images_without_tags() -> None:
    empty = CamScene("b.png", scene().image, (), np.zeros((0, 4, 6)), np.zeros((4, 6), dtype=np.uint8))
    one = cam_preview([scene(), empty], CLASSES)
    assert one == cam_preview([scene(), empty], CLASSES)
    assert opened(one).height > opened(cam_preview([scene()], CLASSES)).height
    with pytest.raises(ValueError, match="no scenes"):
        cam_preview([], CLASSES)


def test_a_class_has_the_colour_of_the_gallery_and_a_file_name_is_no_formula() -> None:
    wanted = class_shades(CLASSES, background=True)[2]
    data = cam_preview([replace(scene(), file_name="$a_b$ <i>.png")], CLASSES)
    drawn = np.asarray(opened(data).convert("RGB"), dtype=int)
    assert (np.abs(drawn - wanted).max(axis=2) < 8).sum() > 100


def test_many_classes_of_an_image_are_named_in_more_lines() -> None:
    few, many = (
        replace(scene(), tags=tuple(range(1, count + 1)), maps=np.zeros((count, 4, 6))) for count in (4, 5)
    )
    assert (few.lines, many.lines) == (1, 2)
    names = ["background", *("a class with a long name",) * 5]
    assert opened(cam_preview([few], names)).height < opened(cam_preview([many], names)).height


def test_a_tall_image_takes_no_more_than_its_room() -> None:
    tall = replace(scene(), image=np.zeros((300, 20, 3), dtype=np.uint8))
    assert tall.height == pytest.approx(SIDE * TALLEST)
    assert scene().height == pytest.approx(SIDE * 4 / 6)
