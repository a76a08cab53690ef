"""The picture of class activation maps."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from pipeline.data.label_codes import UNLABELLED, VOID
from pipeline.report.cam_preview import CamScene, cam_preview, overlay, painted

COLORS = {2: "#ff0000", 5: "#0000ff"}


def scene() -> CamScene:
    maps = np.zeros((2, 4, 6), dtype=np.float16)
    maps[0, :, 0], maps[1, :, 1], maps[:, :, 2] = 1, 0.5, (np.array([[0.25], [0.5]]))
    labels = np.zeros((4, 6), dtype=np.uint8)
    labels[0, :4] = (2, 5, UNLABELLED, VOID)
    return CamScene("a.png", np.full((4, 6, 3), 51, dtype=np.uint8), (2, 5), maps, labels)


def test_the_strongest_map_colours_the_grey_image() -> None:
    made = overlay(scene(), COLORS)
    np.testing.assert_allclose(made[0, 0], [1, 0, 0])
    np.testing.assert_allclose(made[0, 1], [0.1, 0.1, 0.6])
    np.testing.assert_allclose(made[0, 2], [0.1, 0.1, 0.6])
    np.testing.assert_allclose(made[0, 5], [0.2, 0.2, 0.2])


def test_codes_have_colours_of_their_own() -> None:
    made = painted(scene().labels, COLORS)[0]
    assert made[0].tolist() == [1, 0, 0]
    assert made[1].tolist() == [0, 0, 1]
    assert len({tuple(color) for color in made.tolist()}) == 5


def test_the_picture_repeats_and_takes_images_without_tags() -> None:
    empty = CamScene("b.png", scene().image, (), np.zeros((0, 4, 6)), np.zeros((4, 6), dtype=np.uint8))
    classes = ["background", *"abcde"]
    one = cam_preview([scene(), empty], classes)
    assert one == cam_preview([scene(), empty], classes)
    image = Image.open(io.BytesIO(one))
    assert image.height > Image.open(io.BytesIO(cam_preview([scene()], classes))).height
