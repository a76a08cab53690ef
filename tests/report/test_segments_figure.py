"""The sheet of over-segmented images: borders where ids differ, panels side by side."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.report.segments_figure import BORDER, GAP, LONG_SIDE, Segmented, segments_figure, with_borders


def scene(height: int, width: int) -> Segmented:
    ids = np.zeros((height, width), np.uint16)
    ids[:, width // 2 :] = 300  # more than 8 bits
    return Segmented(np.full((height, width, 3), 90, np.uint8), ids)


@pytest.mark.parametrize(("height", "width"), [(48, 96), (400, 800)])
def test_a_line_a_pixel_wide_lies_between_regions(height: int, width: int) -> None:
    picture = with_borders(*scene(height, width))
    assert picture.shape == (LONG_SIDE // 2, LONG_SIDE, 3)
    drawn = (picture == BORDER).all(2)
    np.testing.assert_array_equal(np.flatnonzero(drawn.all(0)), [LONG_SIDE // 2 - 1])
    assert drawn.sum() == picture.shape[0]
    assert (picture[~drawn] == 90).all()


def test_a_sheet_has_its_panels_in_rows() -> None:
    data = segments_figure([scene(48, 96), scene(96, 48), scene(48, 96)], columns=2)
    assert data == segments_figure([scene(48, 96), scene(96, 48), scene(48, 96)], columns=2)
    sheet = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert sheet.shape == (LONG_SIDE + GAP + LONG_SIDE // 2, 2 * LONG_SIDE + GAP, 3)
    narrow = cv2.imdecode(np.frombuffer(segments_figure([scene(96, 48)] * 2), np.uint8), cv2.IMREAD_COLOR)
    assert narrow.shape == (LONG_SIDE, LONG_SIDE + GAP, 3)
    with pytest.raises(ValueError, match="no scenes"):
        segments_figure([])
