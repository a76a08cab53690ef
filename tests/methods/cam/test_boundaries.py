"""The boundary detector's samples and losses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import params
from pipeline.data.images import ImageStore
from pipeline.data.label_codes import UNLABELLED, VOID
from pipeline.data.packs import Pack, encode_map, write_pack
from pipeline.errors import UserError
from pipeline.methods.cam.boundaries import BoundaryDetection, ConfidentImage, ConfidentImages
from pipeline.methods.cam.pair_losses import pair_losses
from pipeline.models.boundary import build_boundary_network
from tests.methods.cam.tag_labels import MEAN, SIZES, boundary_settings, write_images

PLAIN = params.BoundaryAugmentation(scale=(1.0, 1.0), horizontal_flip=0.0, crop=32)


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return write_images(tmp_path / "train")


def labels(folder: Path) -> Pack:
    """Background everywhere, but class 1 in columns 10 and more of image 1, and nothing sure in image 2."""
    maps = {key: np.full(size, 0, dtype=np.uint8) for key, size in SIZES.items()}
    maps[1][:, 10:] = 1
    maps[2][:] = UNLABELLED
    write_pack(folder / "confident", [(key, encode_map(value)) for key, value in maps.items()], {})
    return Pack(folder / "confident")


def test_image_and_labels_move_together(store: ImageStore, tmp_path: Path) -> None:
    moving = PLAIN.model_copy(update={"scale": (0.5, 1.5), "horizontal_flip": 0.5})
    dataset = ConfidentImages(store, labels(tmp_path), moving, MEAN, seed=1)
    for draw in range(10):
        sample = dataset[(0, draw)]
        assert sample.image.shape == (3, 32, 32)
        added = (sample.image == torch.tensor(np.round(MEAN).astype(np.uint8))[:, None, None]).all(dim=0)
        assert torch.equal(sample.labels == VOID, added), "padding of the image has no label"
        assert set(sample.labels.unique().tolist()) <= {0, 1, VOID}


def test_images_without_a_confident_pixel_are_left_out(store: ImageStore, tmp_path: Path) -> None:
    dataset = ConfidentImages(store, labels(tmp_path), PLAIN, MEAN, seed=1)
    assert dataset.image_ids == [1, 3, 4, 5]
    assert dataset.announcement == "1 of 5 images have no confident pixel"
    write_pack(tmp_path / "none", [(2, encode_map(np.full(SIZES[2], UNLABELLED, dtype=np.uint8)))], {})
    with pytest.raises(UserError, match=r"no image has a confident pixel; lower confident\.foreground"):
        ConfidentImages(store, Pack(tmp_path / "none"), PLAIN, MEAN, seed=1)


def test_it_learns_where_two_colours_meet() -> None:
    torch.manual_seed(0)
    network = build_boundary_network(boundary_settings()).train()
    image = torch.full((3, 32, 32), 60, dtype=torch.uint8)
    image[:, :, 16:] = 200
    labels = torch.zeros(32, 32, dtype=torch.uint8)
    labels[:, 16:] = 1
    labels[:, 12:20] = UNLABELLED
    method = BoundaryDetection(network, radius=4.0)
    optimizer = torch.optim.Adam([value for value in network.parameters() if value.requires_grad], 0.01)
    totals = []
    for step in range(40):
        losses = method.losses([ConfidentImage(image, labels, 1)], step)
        totals.append(torch.stack(list(losses.values())).sum())
        optimizer.zero_grad()
        totals[-1].backward()
        optimizer.step()
    assert losses.keys() == {"background", "foreground", "different"}
    assert totals[-1] < 0.5 * totals[0]
    with torch.no_grad():
        boundary = network.eval()(image[None]).sigmoid()[0]
    middle, rest = boundary[:, 3:5].amax(dim=1), boundary[:, [0, 1, 6, 7]]
    assert middle.min() > rest.max()


def test_cells_have_the_labels_at_their_centres_and_losses_the_weights_of_their_sum() -> None:
    torch.manual_seed(0)
    network = build_boundary_network(boundary_settings()).train()
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    at_centres = torch.randint(0, 2, (8, 8), dtype=torch.uint8)
    labels = torch.full((32, 32), UNLABELLED, dtype=torch.uint8)
    labels[2::4, 2::4] = at_centres  # the network's stride is 4
    found = BoundaryDetection(network, 3.0).losses([ConfidentImage(image, labels, 1)], 0)
    wanted = pair_losses(network(image[None]).sigmoid(), at_centres[None], 3.0)
    assert min(wanted.background, wanted.foreground, wanted.different) > 0
    torch.testing.assert_close(found["background"], wanted.background / 4)
    torch.testing.assert_close(found["foreground"], wanted.foreground / 4)
    torch.testing.assert_close(found["different"], wanted.different / 2)


def test_last_cells_without_a_centre_have_no_label() -> None:
    network = build_boundary_network(boundary_settings()).train()
    sample = ConfidentImage(
        torch.zeros(3, 33, 33, dtype=torch.uint8), torch.zeros(33, 33, dtype=torch.uint8), 1
    )
    assert BoundaryDetection(network, 3.0).losses([sample], 0)["background"].isfinite()
