"""Dense CRF: both backends give what the specification says, and edges attract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from pipeline.engine.parallel import HERE
from pipeline.params import DenseCrf, Executor
from pipeline.priors.crf.inference import dense_crf, dense_crf_batch, smooth_scenes
from pipeline.priors.crf.mean_field import torch_marginals
from tests.priors.crf.settings import CRFS, SEAM, SPML, varied

both = pytest.mark.parametrize("backend", ["pydensecrf", "torch"])


@pytest.fixture(scope="module")
def stored(shared_data: Path) -> dict[str, np.ndarray]:
    with np.load(shared_data / "reference" / "priors" / "densecrf.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max(0))
    return (weights / weights.sum(0)).astype(np.float32)


def scene(classes: int, seed: int = 0, size: tuple[int, int] = (24, 33)) -> tuple[np.ndarray, np.ndarray]:
    """A noisy image of a few flat patches, and probabilities."""
    draw = np.random.default_rng(seed)
    height, width = size
    patches = draw.integers(40, 216, (3, 4, 3)).repeat(-(-height // 3), 0).repeat(-(-width // 4), 1)
    image = patches[:height, :width] + draw.integers(-6, 7, (height, width, 3))
    return image.astype(np.uint8), softmax(2 * draw.standard_normal((classes, height, width)))


@both
def test_marginals_are_those_of_the_reference(stored: dict[str, np.ndarray], backend: str) -> None:
    image, probability = stored["image"], stored["probability"]
    once = dense_crf(image, probability, varied(SPML, iterations=1, backend=backend))
    assert np.abs(once - stored["q_1"].astype(np.float32)).mean() < 2e-3
    found = dense_crf(image, probability, varied(SPML, backend=backend))
    assert (found.argmax(0) == stored["label_10"]).mean() > 0.99
    wide = dense_crf(image, probability, varied(SEAM, backend=backend))
    assert (wide.argmax(0) == stored["wide_label_10"]).mean() > 0.99


@both
def test_scores_need_not_add_up_to_one(stored: dict[str, np.ndarray], backend: str) -> None:
    raw = 0.375 * stored["probability"]
    raw[3] = 0
    labels = dense_crf(stored["image"], raw, varied(SPML, backend=backend)).argmax(0)
    assert not (labels == 3).any()
    assert (labels == stored["raw_label_10"]).mean() > 0.99


@pytest.mark.parametrize("classes", [1, 2, 3, 8, 11])
@pytest.mark.parametrize(
    ("name", "iterations", "largest"),
    [("seam", 10, 1e-5), ("spml", 1, 5e-3)],  # a spatial std of 1 pixel: ours is exact, the reference nearly
)
def test_the_backends_agree(name: str, iterations: int, largest: float, classes: int) -> None:
    image, probabilities = scene(classes)
    settings = varied(CRFS[name], iterations=iterations)
    wanted = dense_crf(image, probabilities, settings)
    found = dense_crf(image, probabilities, varied(settings, backend="torch"))
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    assert np.abs(found - wanted).mean() < largest


@both
def test_a_blurred_guess_snaps_to_the_edge_of_the_image(backend: str) -> None:
    image = np.full((24, 32, 3), 40, dtype=np.uint8)
    image[:, 16:] = 200
    image.setflags(write=False)
    guess = np.tile(np.linspace(0.2, 0.95, 32, dtype=np.float32), (24, 1))  # 0.5 at column 12
    found = dense_crf(image, np.stack([1 - guess, guess]), varied(SEAM, backend=backend))
    assert found.shape == (2, 24, 32)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
    np.testing.assert_array_equal(found[1] > 0.5, np.arange(32)[None].repeat(24, 0) >= 16)


@both
@pytest.mark.parametrize("settings", [SPML, SEAM], ids=list(CRFS))
def test_a_mirrored_image_gives_mirrored_labels(settings: DenseCrf, backend: str) -> None:
    """But for some pixels: the lattice is no mirror image of itself."""
    image, probabilities = scene(4)
    settings = varied(settings, backend=backend)
    labels = dense_crf(image, probabilities, settings).argmax(0)
    mirrored = dense_crf(image[:, ::-1], probabilities[:, :, ::-1], settings).argmax(0)
    assert (mirrored[:, ::-1] == labels).mean() > 0.95


@both
def test_without_neighbours_the_scores_are_normalised_and_clipped(backend: str) -> None:
    image, _ = scene(5)
    scores = np.random.default_rng(1).random((5, 24, 33)).astype(np.float32)
    scores[2] = 0
    alone = varied(SPML, smoothness_weight=0.0, appearance_weight=0.0, backend=backend)
    wanted = np.maximum(scores, 1e-5)
    np.testing.assert_allclose(dense_crf(image, scores, alone), wanted / wanted.sum(0), rtol=1e-4)


@both
@pytest.mark.parametrize("settings", [SPML, SEAM], ids=list(CRFS))
def test_a_batch_gives_what_its_images_give(settings: DenseCrf, backend: str) -> None:
    pairs = [scene(4, seed) for seed in range(3)]
    settings = varied(settings, backend=backend)
    images = torch.from_numpy(np.stack([image for image, _ in pairs]))
    probabilities = torch.from_numpy(np.stack([scores for _, scores in pairs]))
    found = dense_crf_batch(images, probabilities, settings)
    wanted = [dense_crf(image, scores, settings) for image, scores in pairs]
    np.testing.assert_array_equal(found.numpy(), np.stack(wanted))


class Numbered(NamedTuple):
    """A scene that `smooth_scenes` takes."""

    number: int
    pixels: np.ndarray
    probabilities: np.ndarray


def numbered(number: int) -> Numbered:
    return Numbered(number, *scene(3, number, (12, 9) if number % 2 else (10, 14)))


def finish(item: Numbered, marginals: np.ndarray) -> tuple[int, int, np.ndarray]:
    return item.number, torch.get_num_threads(), marginals


@both
def test_images_of_a_stage_are_smoothed_in_order_on_any_number_of_processes(
    monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setattr("pipeline.engine.parallel.ALONE_SECONDS", 0.0)
    settings = varied(SEAM, backend=backend)
    items = [numbered(number) for number in range(3)]
    cpu, threads = torch.device("cpu"), torch.get_num_threads()
    for processes in (1, 2):
        found = list(smooth_scenes(finish, items, settings, processes, "maps", HERE, cpu))
        assert [(number, used) for number, used, _ in found] == [(0, 1), (1, 1), (2, 1)]
        for item, (_, _, marginals) in zip(items, found, strict=True):
            np.testing.assert_array_equal(
                marginals, dense_crf(item.pixels, item.probabilities, settings), strict=True
            )
    assert torch.get_num_threads() == threads


def recorded_maps(calls: list[Executor]) -> Callable[..., Iterator[object]]:
    def map_here(
        function: Callable[[object], object], items: list[object], _: int, __: str, executor: Executor
    ) -> Iterator[object]:
        calls.append(executor)
        return map(function, items)

    return map_here


@pytest.mark.parametrize(("backend", "device"), [("pydensecrf", "cpu"), ("torch", "cpu"), ("torch", "meta")])
def test_images_go_to_the_cluster_of_the_executor(
    monkeypatch: pytest.MonkeyPatch, backend: str, device: str
) -> None:
    """Even where there is a GPU, for which `meta` stands."""
    calls: list[Executor] = []
    monkeypatch.setattr("pipeline.priors.crf.inference.map_images", recorded_maps(calls))
    executor, settings = Executor(address="tcp://there:8786"), varied(SEAM, backend=backend)
    items = [numbered(0), numbered(1)]
    found = smooth_scenes(finish, items, settings, 2, "maps", executor, torch.device(device))
    assert [number for number, _, _ in found] == [0, 1]
    assert calls == [executor]


def test_a_gpu_smooths_images_of_equal_size_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is none, `meta` stands for it: what it would compute is computed here."""
    settings = varied(SEAM, backend="torch")
    sizes = []
    items = [numbered(number) for number in (1, 3, 0, 5, 7)]
    batches = [items[:2], items[2:3], items[3:]]

    def recorded(images: torch.Tensor, scores: torch.Tensor, given: DenseCrf) -> torch.Tensor:
        assert scores.device.type == "meta"
        sizes.append(len(images))
        here = torch.from_numpy(np.stack([item.probabilities for item in batches[len(sizes) - 1]]))
        return torch_marginals(images, here, given)

    with monkeypatch.context() as gpu:
        gpu.setattr("pipeline.priors.crf.inference.torch_marginals", recorded)
        gpu.setattr("pipeline.priors.crf.inference.GPU_BATCH", 3)
        found = list(smooth_scenes(finish, items, settings, 1, "maps", HERE, torch.device("meta")))
    assert sizes == [2, 1, 2]
    assert [number for number, _, _ in found] == [1, 3, 0, 5, 7]
    for item, (_, _, marginals) in zip(items, found, strict=True):
        np.testing.assert_array_equal(marginals, dense_crf(item.pixels, item.probabilities, settings))
