"""Points and strokes as partial label maps."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.label_codes import UNLABELLED
from pipeline.labels.partial_maps import draw_marks

COORDINATES = st.tuples(st.integers(-5, 25), st.integers(-5, 25))


@given(
    points=st.lists(st.tuples(st.integers(0, 3), COORDINATES), max_size=5),
    radius=st.integers(0, 7),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
def test_a_point_labels_the_disc_around_it_and_the_later_one_wins(
    points: list[tuple[int, tuple[int, int]]], radius: int, size: tuple[int, int]
) -> None:
    y, x = np.indices(size)
    wanted = np.full(size, UNLABELLED)
    for label, (left, top) in points:
        if 0 <= left < size[1] and 0 <= top < size[0]:
            wanted[(x - left) ** 2 + (y - top) ** 2 <= radius**2] = label
    inside = [(p, q) for p, q in points if 0 <= q[0] < size[1] and 0 <= q[1] < size[0]]
    drawn = draw_marks(size, [(label, np.array([point])) for label, point in inside], radius)
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn, wanted)


def test_a_stroke_is_as_thick_all_along() -> None:
    drawn = draw_marks((20, 40), [(2, np.array([[5, 10], [20, 10], [34, 10]]))], 3)
    assert (drawn[7:14, 5:35] == 2).all()
    assert (drawn[[6, 14]] == UNLABELLED).all()
    assert (drawn[10] == 2).sum() == 30 + 2 * 3


def test_what_is_outside_is_cut_off() -> None:
    drawn = draw_marks((5, 5), [(1, np.array([[-9, 2], [-1, 2]])), (2, np.array([[-2, 4], [8, 4]]))], 1)
    assert (drawn[3:] == 2).all()
    assert drawn[2, 0] == 1
