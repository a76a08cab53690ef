"""The recipes of retrieval and pseudo-labels against the same steps written out, segment by segment.

The network is a random one: its embeddings and probabilities are soft, and its views of a picture and of the
mirror image differ.  No setting has the value that papers use, or one that would leave a step out.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.data.label_codes import UNLABELLED, VOID
from pipeline.data.semantic_samples import nearest_cells
from pipeline.methods.semantic.build import build_networks
from pipeline.methods.semantic.inference import normalised
from pipeline.methods.spml.inference import Memory, Retriever
from pipeline.methods.spml.pseudo_labels import PseudoLabeler
from pipeline.methods.spml.segments import Clustering
from tests import semantic_settings
from tests.semantic_settings import CLASSES, inference, pixel_embedding

SIDE = 48
RETRIEVAL = semantic_settings.retrieval(
    grid=13, iterations=4, neighbours=3, memory_scales=(1.0, 0.25), scales=(1.0, 0.75), mirror=True
)
WALK = semantic_settings.walk(stride=8, sharpness=2.0, power=6, squarings=1)


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    made = build_networks(semantic_settings.spml(), pixel_embedding(), CLASSES).eval()
    with torch.no_grad():
        made.classifier.last.weight.mul_(3)
    return made


def picture(index: int) -> tuple[np.ndarray, np.ndarray]:
    pixels, labels = semantic_settings.scene(index)
    return np.ascontiguousarray(pixels[:, :SIDE]), np.ascontiguousarray(labels[:, :SIDE])


def resized(maps: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(maps[None], (height, width), mode="bilinear", align_corners=False)[0]


def turned(maps: Tensor, mirrored: bool) -> Tensor:
    return maps.flip(-1) if mirrored else maps


def unit(values: Tensor) -> Tensor:
    return values / values.norm(dim=-1, keepdim=True).clamp(min=1e-12)


def embedded(networks, view: Tensor) -> Tensor:
    """(d, h, w) of unit length of a view (3, h, w), padded to one window."""
    height, width = view.shape[1:]
    padded = F.pad(view, (0, SIDE - width, 0, SIDE - height))
    found = resized(networks.embedding(padded[None])[0], SIDE, SIDE)[:, :height, :width]
    return unit(found.permute(1, 2, 0)).permute(2, 0, 1)


def clustered(joint: Tensor, height: int, width: int, grid: int, iterations: int) -> Tensor:
    """(n,) clusters of (n, c): a grid, then means and the nearest of them in turn."""
    rows, columns = (torch.linspace(0, grid - 1, size).round().long() for size in (height, width))
    labels = (rows[:, None] + grid * columns).flatten()
    for _ in range(iterations):
        centres = torch.stack([unit(joint[labels == one].sum(dim=0)) for one in range(grid**2)])
        labels = (joint @ centres.T).argmax(dim=1)
    return labels


def with_places(embeddings: Tensor) -> Tensor:
    """(n, d + 2) of (d, h, w), of unit length, with y and x of -0.5 to 0.5."""
    _, height, width = embeddings.shape
    y, x = (torch.linspace(-0.5, 0.5, size) for size in (height, width))
    places = torch.stack([y[:, None].expand(height, width), x.expand(height, width)], dim=-1)
    return unit(torch.cat([embeddings.permute(1, 2, 0), places], dim=-1)).flatten(0, 1)


def segments(networks, view: Tensor) -> tuple[dict[int, Tensor], Tensor]:
    """Prototype of each cluster that has a pixel, and the clusters (h, w)."""
    embeddings = embedded(networks, view)
    height, width = view.shape[1:]
    where = clustered(with_places(embeddings), height, width, RETRIEVAL.grid, RETRIEVAL.iterations)
    flat = embeddings.flatten(1).T
    found = {int(one): unit(flat[where == one].sum(dim=0)) for one in where.unique()}
    return found, where.view(height, width)


def scaled(image: Tensor, scale: float) -> Tensor:
    return resized(image, int(image.shape[1] * scale), int(image.shape[2] * scale))


@pytest.fixture(scope="module")
def remembered(networks) -> tuple[list[Memory], list[tuple[Tensor, int]], int]:
    """Memories of two pictures, the same segments found one by one, and how many clusters are empty."""
    retriever = Retriever(networks.embedding, inference(), RETRIEVAL, CLASSES, color_features=False)
    found, expected, empty = [], [], 0
    with torch.no_grad():
        for index in (1, 2):
            pixels, labels = picture(index)
            labels[:9, :9] = VOID
            found.append(retriever.memorise(pixels, labels))
            for scale in RETRIEVAL.memory_scales:
                view = scaled(normalised(networks.embedding, pixels)[0], scale)
                prototypes, where = segments(networks, view)
                empty += RETRIEVAL.grid**2 - len(prototypes)
                cells = nearest_cells(torch.from_numpy(labels.astype(np.int64))[None], *view.shape[1:])[0]
                for cluster, prototype in prototypes.items():
                    most = int(torch.bincount(cells[where == cluster]).argmax())
                    if most != VOID:
                        expected.append((prototype, most))
    return found, expected, empty


def test_a_memory_has_the_segments_with_a_class(remembered) -> None:
    found, expected, empty = remembered
    assert empty, "a cluster without pixels is not remembered"
    memory = Memory.of(found)
    assert memory.labels.tolist() == [label for _, label in expected]
    torch.testing.assert_close(
        memory.prototypes, torch.stack([one for one, _ in expected]), rtol=1e-4, atol=1e-4
    )


def test_scores_are_shares_of_the_nearest_segments(networks, remembered) -> None:
    memory = Memory.of(remembered[0])
    pixels, _ = picture(3)
    retriever = Retriever(networks.embedding, inference(), RETRIEVAL, CLASSES, color_features=False)
    image = normalised(networks.embedding, pixels)[0]
    maps = []
    with torch.no_grad():
        for scale in RETRIEVAL.scales:
            for mirrored in (False, True):
                prototypes, where = segments(networks, turned(scaled(image, scale), mirrored))
                shares = torch.zeros(CLASSES, *where.shape)
                for cluster, prototype in prototypes.items():
                    nearest = (memory.prototypes @ prototype).argsort(descending=True)[: RETRIEVAL.neighbours]
                    for label in memory.labels[nearest].tolist():
                        shares[label, where == cluster] += 1 / RETRIEVAL.neighbours
                maps.append(resized(turned(shares, mirrored), SIDE, SIDE))
    found = retriever.scores(pixels, memory)
    assert (found - torch.stack(maps).mean(dim=0)).abs().mean() < 1e-3  # a pixel may be between two clusters


# --- pseudo-labels ------------------------------------------------------------------------------------


def walked(networks, image: Tensor, scores: Tensor, views=(False, True), scales=(1.0,)) -> Tensor:
    """Scores (C, h, w) after 2 ** squarings steps between the cells of the views, at image size."""
    cells = SIDE // WALK.stride
    affinity = torch.zeros(cells**2, cells**2)
    for scale in scales:
        for mirrored in views:
            view = turned(scaled(image, scale), mirrored)
            small = resized(turned(embedded(networks, view), mirrored), cells, cells)
            flat = unit(small.flatten(1).T)
            affinity += torch.exp(WALK.sharpness * (flat @ flat.T - 1)) / (len(views) * len(scales))
    affinity = affinity**WALK.power
    steps = torch.linalg.matrix_power(affinity / affinity.sum(dim=0), 2**WALK.squarings)
    return resized((scores.flatten(1) @ steps).view(-1, cells, cells), SIDE, SIDE)


def test_the_classifier_s_probabilities_are_walked(networks) -> None:
    pixels, labels = picture(1)
    partial = np.where(labels == 1, labels, UNLABELLED).astype(np.uint8)
    partial[:4, :4] = 0
    image, cells = normalised(networks.embedding, pixels)[0], SIDE // WALK.stride
    scores = torch.zeros(CLASSES, cells, cells)
    with torch.no_grad():
        for mirrored in (False, True):
            logits = resized(networks(turned(image, mirrored)[None])[1][0], SIDE, SIDE)
            scores += resized(turned(logits.softmax(dim=0), mirrored), cells, cells) / 2
        for label in range(CLASSES):
            scores[label] *= (label in (0, 1)) / scores[label].max()
        expected = walked(networks, image, scores)
    found = PseudoLabeler(networks, WALK, inference(), CLASSES).from_classifier(pixels, partial)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_activations_are_walked(networks) -> None:
    pixels, _ = picture(1)
    image, cells = normalised(networks.embedding, pixels)[0], SIDE // WALK.stride
    activations = np.random.default_rng(0).random((2, 12, 12)).astype(np.float32)
    small = resized(torch.from_numpy(activations), cells, cells)
    scores = torch.stack([(1 - small.amax(dim=0)) ** 6, *small])
    found = PseudoLabeler(networks, WALK, inference(), CLASSES).from_cams(pixels, activations, [1, 2], 6)
    with torch.no_grad():
        torch.testing.assert_close(found, walked(networks, image, scores), rtol=1e-3, atol=1e-4)


def test_points_go_to_the_nearest_segments_and_are_walked(networks) -> None:
    """Segments are clusters at half the size, cut by labels and regions; void pixels are unlabelled ones."""
    pixels, labels = picture(1)
    points = np.full_like(labels, UNLABELLED)
    # Each in one pixel at half the size, which cells of the walk do not read.
    points[:2, :2], points[16:18, 16:18], points[40:42, 40:42], points[:8, 40:] = 0, 1, 2, VOID
    regions = (np.arange(SIDE) // 24 + np.zeros((SIDE, 1))).astype(np.uint16)
    image, side, cells = normalised(networks.embedding, pixels)[0], SIDE // 2, SIDE // WALK.stride
    with torch.no_grad():
        embeddings = resized(embedded(networks, image), side, side)
        embeddings = unit(embeddings.permute(1, 2, 0)).permute(2, 0, 1)
        where = clustered(with_places(embeddings), side, side, 2, 4)
        given, own_regions = (
            nearest_cells(torch.from_numpy(each.astype(np.int64))[None], side, side).flatten().tolist()
            for each in (np.where(points == VOID, UNLABELLED, points), regions)
        )
        flat = embeddings.flatten(1).T
        members: dict[tuple[int, int, int], list[int]] = {}
        for at, key in enumerate(zip(where.tolist(), given, own_regions, strict=True)):
            members.setdefault(key, []).append(at)
        prototypes = {key: unit(flat[own].sum(dim=0)) for key, own in members.items()}
        labelled = [key for key in members if key[1] < CLASSES]
        scores = torch.zeros(CLASSES, side**2)
        for own in members.values():
            for at in own:
                nearest = max(labelled, key=lambda key: float(prototypes[key] @ flat[at]))
                scores[nearest[1], own] += 1 / len(own)
        small = resized(scores.view(CLASSES, side, side), cells, cells)
        largest = small.amax(dim=(1, 2), keepdim=True)
        assert largest.min() < 0.8, "a class is divided by less than 1"
        expected = walked(networks, image, small / largest, views=(False,))
    found = PseudoLabeler(networks, WALK, inference(), CLASSES).from_segments(
        pixels, points, regions, Clustering((2, 2), 4)
    )
    assert (found - expected).abs().mean() < 1e-3


def test_the_second_classifier_s_mean_logits_are_walked(networks) -> None:
    """Of all scales and mirrors, which the walk sees, too; classes without a tag are 0."""
    pixels, _ = picture(2)
    image, cells, scales = normalised(networks.embedding, pixels)[0], SIDE // WALK.stride, (0.75, 1.0)
    pictures = [(scale, mirrored) for scale in scales for mirrored in (False, True)]
    with torch.no_grad():
        logits = torch.zeros(CLASSES, cells, cells)
        for scale, mirrored in pictures:
            view = turned(scaled(image, scale), mirrored)
            height, width = view.shape[1:]
            padded = F.pad(view, (0, SIDE - width, 0, SIDE - height))
            own = resized(networks(padded[None])[1][0], SIDE, SIDE)[:, :height, :width]
            logits += resized(turned(own, mirrored), cells, cells) / len(pictures)
        scores = logits.softmax(dim=0)
        scores = scores / scores.amax(dim=(1, 2), keepdim=True)
        scores[1] = 0
        expected = walked(networks, image, scores, views=(False, True), scales=scales)
    settings = inference(scales=scales, mirror=True)
    found = PseudoLabeler(networks, WALK, settings, CLASSES).from_second_classifier(pixels, [2])
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
