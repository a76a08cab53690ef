from __future__ import annotations

import pytest
import torch

from pipeline.methods.spml.features import (
    color_features,
    color_kernel,
    grid_clusters,
    location_features,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize("case", range(4))
def test_initial_clusters_match_the_release(load, case):
    arrays = load("grids")
    expected = arrays[f"grid_{case}_labels"]
    rows, columns = arrays[f"grid_{case}_clusters"].tolist()
    assert torch.equal(grid_clusters(*expected.shape, (rows, columns), CPU), expected)


@pytest.mark.parametrize("case", range(4))
def test_locations_match_the_release(load, case):
    expected = load("grids")[f"loc_{case}"]
    actual = location_features(*expected.shape[:2], CPU)
    torch.testing.assert_close(actual, expected - 0.5, rtol=1e-4, atol=1e-5)


def test_colours_match_the_release(load):
    arrays = load("grids")
    height, width = arrays["color_location"].shape[1:3]
    colors = color_features(arrays["color_image"], height, width)
    torch.testing.assert_close(colors, arrays["color_location"][..., 2:], rtol=1e-4, atol=1e-5)
    location = location_features(height, width, CPU).expand(2, -1, -1, -1)
    torch.testing.assert_close(location, arrays["location_only"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(color_kernel(CPU), arrays["smoothing_kernel"], rtol=1e-4, atol=1e-5)


def test_an_image_of_one_colour_has_no_colour_features():
    assert color_features(torch.full((1, 3, 20, 20), 0.25), 5, 5).abs().max() < 1e-3
