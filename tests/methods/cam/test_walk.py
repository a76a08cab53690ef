"""Maps spread up to boundaries."""

from __future__ import annotations

import torch

from pipeline import params
from pipeline.methods.cam.walk import boundary_maps, spread
from pipeline.models.boundary import build_boundary_network
from pipeline.priors.affinity import random_walk
from tests.methods.cam.tag_labels import boundary_settings

WALK = params.Walk(radius=3.0, power=10.0, squarings=6, mirror=True, batch_size=2, threads=1)


def divided() -> torch.Tensor:
    """(1, 8, 12) boundary in column 6."""
    boundaries = torch.zeros(1, 8, 12)
    boundaries[:, :, 6] = 1
    return boundaries


def test_a_peak_fills_its_side_of_the_boundary() -> None:
    maps = torch.zeros(1, 8, 12)
    maps[0, 4, 2] = 1.0
    made = spread([maps], divided(), WALK, (8, 12))[0]
    assert made.shape == (1, 8, 12)
    assert made.max() == 1
    assert made[0, :, :6].min() > 0.5
    assert not made[0, :, 6:].any()


def test_an_image_is_divided_by_the_greatest_value_of_all_its_classes() -> None:
    maps = torch.zeros(2, 8, 12)
    maps[0, :, :6], maps[1, :, 7:] = 0.8, 0.2
    made = spread([maps], divided(), WALK, (8, 12))[0]
    torch.testing.assert_close(made.amax(dim=(1, 2)), torch.tensor([1.0, 0.25]))


def test_maps_are_multiplied_by_what_is_no_boundary_before_they_walk() -> None:
    maps = torch.ones(1, 2, 3)
    boundaries = torch.tensor([[[0.0, 0.25, 0.5], [0.0, 0.25, 0.5]]])
    still = WALK.model_copy(update={"squarings": 0})
    walked = random_walk(1 - boundaries[:, None], boundaries, still.radius, still.power, still.squarings)[0]
    assert not torch.allclose(walked, random_walk(maps[None], boundaries, 3.0, 10.0, 0)[0])
    torch.testing.assert_close(spread([maps], boundaries, still, (2, 3))[0], walked / walked.max())


def test_images_of_a_batch_have_classes_of_their_own() -> None:
    draw = torch.Generator().manual_seed(0)
    maps = [torch.rand(count, 16, 24, generator=draw) for count in (2, 0, 1)]
    boundaries = torch.rand(3, 4, 6, generator=draw)
    together = spread(maps, boundaries, WALK, (16, 24))
    assert [made.shape for made in together] == [(2, 16, 24), (0, 16, 24), (1, 16, 24)]
    for index, own in enumerate(maps):
        alone = spread([own], boundaries[index : index + 1], WALK, (16, 24))[0]
        torch.testing.assert_close(together[index], alone)
    assert all(made.min() >= 0 and made.max() <= 1 for made in together if len(made))


def test_maps_of_zeros_stay_zeros() -> None:
    assert not spread([torch.zeros(1, 8, 12)], divided(), WALK, (8, 12))[0].any()


def test_boundaries_do_not_depend_on_which_way_round_the_image_is() -> None:
    torch.manual_seed(0)
    network = build_boundary_network(boundary_settings()).eval()
    images = torch.randint(0, 256, (2, 3, 16, 24), dtype=torch.uint8)
    with torch.no_grad():
        plain, mirrored = (boundary_maps(network, pictures, True) for pictures in (images, images.flip(-1)))
        assert plain.shape == (2, 4, 6)
        torch.testing.assert_close(plain, mirrored.flip(-1))
        torch.testing.assert_close(boundary_maps(network, images, False), network(images).sigmoid())
