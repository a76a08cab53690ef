"""HED: its side maps fuse at the image's size, and weights come from local files in two sets of names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.errors import UserError
from pipeline.models.hed import DEPTHS, Hed, load_hed
from pipeline.weights import save_weights

WIDTHS = (3, 4, 5, 6, 6)


@pytest.fixture
def network() -> Hed:
    torch.manual_seed(0)
    return Hed(WIDTHS).eval()


def test_any_size_gives_a_probability_per_pixel(network: Hed) -> None:
    images = torch.rand(2, 3, 37, 53) * 255
    edges = network(images)
    assert edges.shape == (2, 37, 53)
    assert 0 <= edges.min() < edges.max() <= 1


def test_has_the_layers_of_vgg16_and_five_sides() -> None:
    weights = {name: tuple(value.shape) for name, value in Hed().state_dict().items() if "weight" in name}
    assert len(weights) == sum(DEPTHS) + 6
    assert weights["conv1_1.weight"] == (64, 3, 3, 3)
    assert weights["conv5_3.weight"] == (512, 512, 3, 3)
    assert weights["score_dsn3.weight"] == (1, 256, 1, 1)
    assert weights["score_final.weight"] == (1, 5, 1, 1)


def test_the_fused_map_is_what_the_last_layer_makes_of_the_sides(network: Hed) -> None:
    """A side's weight of 1 and all others 0: the map is that side alone, here its bias."""
    with torch.no_grad():
        network.score_final.weight.zero_()
        network.score_final.bias.zero_()
        network.score_final.weight[0, 3] = 1
        network.get_submodule("score_dsn4").weight.zero_()
        network.get_submodule("score_dsn4").bias.fill_(0.3)
        edges = network(torch.rand(1, 3, 32, 32) * 255)
    torch.testing.assert_close(edges, torch.full((1, 32, 32), 0.3).sigmoid())


def test_reads_bgr_less_the_mean_of_imagenet(network: Hed) -> None:
    """The first layer sees one channel at a time: blue is the first."""
    seen = []
    network.get_submodule("conv1_1").register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    network(torch.tensor([10.0, 20.0, 30.0])[None, :, None, None].expand(1, 3, 16, 16))
    expected = torch.tensor([30 - 104.00698793, 20 - 116.66876762, 10 - 122.67891434])
    torch.testing.assert_close(seen[0], expected[None, :, None, None].expand(1, 3, 16, 16))


def test_the_last_row_of_an_odd_image_is_kept(network: Hed) -> None:
    """Sides of 33 are 17, 9, 5 and 3 after the poolings, rounded up."""
    sizes = []
    for block in range(1, 6):
        side = network.get_submodule(f"score_dsn{block}")
        side.register_forward_hook(lambda _, __, found: sizes.append(tuple(found.shape[2:])))
    image = torch.zeros(1, 3, 33, 33)
    before = network(image)
    assert sizes == [(33, 33), (17, 17), (9, 9), (5, 5), (3, 3)]
    image[..., 32, :] = 255
    assert not torch.equal(network(image)[..., 31, :], before[..., 31, :])


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_weights_come_from_a_local_file(network: Hed, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"hed.{ending}"
    if ending == "pth":
        torch.save(network.state_dict(), path)
    else:
        save_weights(network, path)
    image = torch.rand(1, 3, 20, 24) * 255
    torch.testing.assert_close(load_hed(path, WIDTHS)(image), network(image))


def test_knows_the_names_of_the_reimplementation(network: Hed, tmp_path: Path) -> None:
    state = {}
    for name, value in network.state_dict().items():
        module, kind = name.split(".")
        blocks = ("One", "Two", "Thr", "Fou", "Fiv")
        if module == "score_final":
            theirs = "moduleCombine.0"
        elif module.startswith("score_dsn"):
            theirs = f"moduleScore{blocks[int(module[-1]) - 1]}"
        else:
            block, layer = int(module[4]), int(module[6])
            theirs = f"moduleVgg{blocks[block - 1]}.{2 * (layer - 1) + (block > 1)}"
        state[f"{theirs}.{kind}"] = value
    torch.save(state, tmp_path / "network-bsds500.pth")
    image = torch.rand(1, 3, 20, 24) * 255
    loaded = load_hed(tmp_path / "network-bsds500.pth", WIDTHS)
    torch.testing.assert_close(loaded(image), network(image))


def test_other_files_are_refused(network: Hed, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="file not found"):
        load_hed(tmp_path / "gone.pth")
    save_weights(network, tmp_path / "small.safetensors")
    with pytest.raises(UserError, match="has shape"):
        load_hed(tmp_path / "small.safetensors")
    torch.save({"score_final.weight": torch.zeros(1)}, tmp_path / "part.pth")
    with pytest.raises(UserError, match="missing tensor"):
        load_hed(tmp_path / "part.pth")
