"""The confusion matrix: shares of each row, written where they can be read."""

from __future__ import annotations

import numpy as np

from pipeline.report.confusion_figure import ABSENT, MOST_WRITTEN, confusion_figure, row_shares
from pipeline.report.figures import png, settings


def test_rows_add_up_to_all_pixels_of_their_class() -> None:
    shares = row_shares(np.array([[6, 2, 0], [0, 0, 0], [1, 1, 2]]))
    np.testing.assert_allclose(shares, [[75, 25, 0], [np.nan] * 3, [25, 25, 50]])


def test_shares_are_written_and_absent_classes_named() -> None:
    with settings():
        figure = confusion_figure(np.array([[6, 2, 0], [0, 0, 0], [1, 0, 999]]), ["background", "cat", "dog"])
        texts = [text.get_text() for text in figure.axes[0].texts]
        assert sorted(texts) == sorted(["75", "25", "100", ABSENT])
        assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
            "background",
            "cat",
            "dog",
        ]
        assert png(figure) == png(
            confusion_figure(np.array([[6, 2, 0], [0, 0, 0], [1, 0, 999]]), ["background", "cat", "dog"])
        )


def test_many_classes_are_shades_alone_in_a_figure_of_fair_size() -> None:
    count = MOST_WRITTEN + 5
    with settings():
        figure = confusion_figure(np.eye(count, dtype=int), [f"class {index}" for index in range(count)])
    assert not figure.axes[0].texts
    assert max(figure.get_size_inches()) < 10
