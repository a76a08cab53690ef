"""What the learning curves draw."""

from __future__ import annotations

import numpy as np
from made_up import make_data

from pipeline.report.data import Curve
from pipeline.report.figures import settings
from pipeline.report.learning import POINTS, curve_lines, curve_panel
from pipeline.report.palette import row_slots

DATA = make_data(scenes=0)


def with_curves(*curves: Curve) -> dict[str, list]:
    return curve_lines({"boxinst": curves}, row_slots(DATA))


def curve(seed: int, steps: list[int], values: list[float]) -> Curve:
    return Curve(seed, np.array(steps, float), {"loss": np.array(values, float)})


def test_loss_comes_first_and_settings_are_left_out() -> None:
    terms = list(curve_lines(DATA.curves, row_slots(DATA)))
    assert terms[0] == "loss"
    assert "loss_pairwise" in terms
    assert "learning_rate" not in terms


def test_terms_of_inner_layers_are_left_out() -> None:
    names = ("loss", "loss_ce", "loss_ce_0", "loss_dice_11", "loss_ce_unlabelled", "loss_mask_0_unlabelled")
    values = {name: np.ones(2) for name in (*names, "pseudo_masks")}
    assert set(with_curves(Curve(0, np.arange(2.0), values))) == {
        "loss",
        "loss_ce",
        "loss_ce_unlabelled",
        "pseudo_masks",
    }


def test_only_runs_that_logged_a_term_have_a_line() -> None:
    assert [line.run for line in curve_lines(DATA.curves, row_slots(DATA))["loss_pairwise"]] == ["boxinst"]


def test_mean_and_band_are_those_of_the_seeds_at_common_steps() -> None:
    (line,) = with_curves(curve(0, [1, 2, 3], [1, 2, 3]), curve(1, [2, 3], [4, 9]))["loss"]
    np.testing.assert_array_equal(line.steps, [2, 3])
    np.testing.assert_array_equal(line.mean, [3, 6])
    np.testing.assert_array_equal(line.low, [2, 3])
    np.testing.assert_array_equal(line.high, [4, 9])


def test_undefined_values_are_skipped_and_a_term_without_any_is_no_panel() -> None:
    (line,) = with_curves(curve(0, [1, 2, 3], [1, np.nan, 3]))["loss"]
    np.testing.assert_array_equal(line.steps, [1, 3])
    assert with_curves(curve(0, [1, 2], [np.nan, np.nan])) == {}


def test_long_curves_are_averaged() -> None:
    steps = list(range(10 * POINTS))
    (line,) = with_curves(curve(0, steps, [float(step) for step in steps]))["loss"]
    assert len(line.steps) == POINTS
    np.testing.assert_allclose(line.mean, line.steps)


def test_the_axis_is_logarithmic_only_where_a_loss_spans_decades() -> None:
    lines = with_curves(curve(0, [1, 2], [0.01, 10]))["loss"]
    with settings():
        wide, share = curve_panel("loss", lines), curve_panel("accepted_share", lines)
        narrow = curve_panel("loss", with_curves(curve(0, [1, 2], [1, 10]))["loss"])
        ticks = [text.get_text() for text in wide.axes[0].get_yticklabels()]
    scales = [figure.axes[0].get_yscale() for figure in (wide, narrow, share)]
    assert scales == ["log", "linear", "linear"]
    assert "log scale" in wide.axes[0].get_title(loc="left")
    assert {"0.01", "0.1", "1", "10"} <= set(ticks)
