"""Names in figures never lie on each other, on a line, outside, or nearer to something else."""

from __future__ import annotations

from itertools import combinations

import hypothesis
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.report.direct_labels import Label, set_labels, wrapped
from pipeline.report.figures import settings

NAMES = st.sampled_from(["A", "Guided Distillation", "Mask2Former, 10 % of the masks", "x" * 70])
PLACES = st.tuples(st.floats(1.05, 9.5), st.floats(0.02, 0.98))


def empty_axes() -> Axes:
    """A logarithmic axis, where not every place in data coordinates exists, and a plain one."""
    axes = Figure(figsize=(4, 3.5), layout="constrained").add_subplot()
    axes.set_xscale("log")
    axes.set_xlim(1, 10)
    axes.set_ylim(0, 1)
    return axes


def label(text: str, *points: tuple[float, float]) -> Label:
    return Label(text, np.array(points, dtype=np.float64))


@hypothesis.settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(NAMES, PLACES), min_size=1, max_size=8, unique_by=lambda item: item[1]))
def test_what_is_set_is_inside_and_on_nothing_else(items: list[tuple[str, tuple[float, float]]]) -> None:
    with settings():
        axes = empty_axes()
        labels = [label(text, place) for text, place in items]
        left_over = set_labels(axes, labels, [item.points for item in labels])
        boxes = [text.get_window_extent() for text in axes.texts]
    assert len(axes.texts) + len(left_over) == len(labels)
    inside = axes.bbox
    for box in boxes:
        assert inside.x0 <= box.x0 < box.x1 <= inside.x1
        assert inside.y0 <= box.y0 < box.y1 <= inside.y1
        assert not any(box.contains(*axes.transData.transform(item.points[0])) for item in labels)
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_a_name_avoids_a_line_and_takes_the_next_place() -> None:
    with settings():
        axes = empty_axes()
        assert set_labels(axes, [label("name", (3, 0.5))], [np.array([(3, 0.5), (10, 0.5)])]) == []
        ((x, y),) = [text.xyann for text in axes.texts]
    assert (x, y) == (0, 6)  # above, since the line lies to the right


def test_a_name_is_not_set_where_it_is_nearer_to_another_point() -> None:
    """Six pixels below the place to the right of its own point, which would be 12 pixels away."""
    with settings():
        axes = empty_axes()
        name = label("name", (3, 0.5))
        set_labels(axes, [name], [name.points])
        (alone,) = axes.texts
        box = alone.get_window_extent()
        alone.remove()
        below = axes.transData.inverted().transform(((box.x0 + box.x1) / 2, box.y0 - 6))
        set_labels(axes, [name, label("", tuple(below))], [name.points])
    assert alone.xyann == (6, 0)
    assert axes.texts[0].xyann != (6, 0)


def test_a_name_without_room_is_left_over() -> None:
    with settings():
        axes = empty_axes()
        wall = [np.array([(x, 0.0), (x, 1.0)]) for x in np.geomspace(1, 10, 30)]
        (left,) = set_labels(axes, [label("name", (3, 0.5))], wall)
    assert left.text == "name"
    assert not axes.texts


def test_long_names_are_wrapped_and_cut_and_percentages_kept_whole() -> None:
    space = "\N{NO-BREAK SPACE}"
    assert (
        wrapped("Guided Distillation, 1 % of the masks", 22, 2)
        == f"Guided Distillation,\n1{space}% of the masks"
    )
    assert wrapped("short", 22, 2) == "short"
    assert wrapped("", 22, 2) == ""
    assert wrapped("a name of many words that nobody can read", 12, 2) == "a name of\nmany words…"
