"""The size of panels: proportions are kept, and what is large is reduced."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.panels import panel_size


@given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from([256, 384]))
def test_panels_keep_proportions_and_fit(height: int, width: int, long_side: int) -> None:
    rows, columns = panel_size(height, width, long_side)
    assert 1 <= rows <= long_side
    assert 1 <= columns <= long_side
    assert max(rows, columns) > long_side // 2
    if max(height, width) <= long_side:
        assert rows % height == columns % width == 0
        assert rows // height == columns // width
    else:
        assert abs(rows * width - columns * height) <= max(height, width)
