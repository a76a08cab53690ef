from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline import params
from pipeline.data.label_codes import UNLABELLED, VOID
from pipeline.errors import UserError
from pipeline.methods.semantic.build import build_networks
from pipeline.methods.semantic.inference import (
    class_probabilities,
    label_map,
    normalised,
    over_windows,
    upright,
    view_logits,
    views,
    windows,
)
from pipeline.methods.spml import pseudo_labels
from pipeline.methods.spml.inference import Memory, Retriever, embed, emphasised
from pipeline.methods.spml.pseudo_labels import PseudoLabeler, by_maximum, neighbour_shares, void_kept
from pipeline.methods.spml.segments import Clustering, Segments
from pipeline.models.layers import resize_bilinear
from tests import semantic_settings
from tests.semantic_settings import CLASSES, inference, pixel_embedding, retrieval

WALK = params.RandomWalk(stride=8, sharpness=5.0, power=20, squarings=6)


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    return build_networks(semantic_settings.spml(), pixel_embedding(), CLASSES).eval()


class Colors(torch.nn.Module):
    """An "embedding" that is the image at a quarter of its size, so that colours are directions."""

    def __init__(self, network):
        super().__init__()
        self.normalise = network.normalise

    def forward(self, images):
        return torch.nn.functional.avg_pool2d(images, 4)


@pytest.fixture
def seeing(networks, monkeypatch):
    """Networks whose embedding tells the scenes' colours apart, and whose classifier finds them."""
    seen = build_networks(semantic_settings.spml(), pixel_embedding(), CLASSES).eval()
    seen.embedding = Colors(seen.embedding)

    def classify(embeddings):  # strongest channel: blue, red, green
        return 9 * embeddings[:, [2, 0, 1]]

    monkeypatch.setattr(seen.classifier, "forward", classify)
    return seen


@pytest.mark.parametrize(
    ("length", "stride", "expected"),
    [(48, 48, [0]), (96, 48, [0, 48]), (80, 48, [0, 32]), (112, 16, [0, 16, 32, 48, 64])],
)
def test_windows_cover_all_and_end_with_the_image(length, stride, expected):
    assert windows(length, 48, stride) == expected


def test_overlapping_windows_are_averaged_and_padding_is_cut_off():
    images = torch.rand(2, 3, 70, 50)
    seen = []

    def count(part):
        seen.append(part)
        return torch.full((2, 1, 48, 48), float(len(seen)))

    found = over_windows(count, images, inference(stride=32))
    assert found.shape == (2, 1, 70, 50)
    assert len(seen) == 4  # rows 0 and 32 of 80, columns 0 and 16 of 64
    assert found[0, 0, 0, 0] == 1
    assert found[0, 0, 40, 0] == 2  # of windows 1 and 3
    assert found[0, 0, 40, 30] == 2.5
    assert found[0, 0, 69, 49] == 4
    assert torch.equal(seen[0], images[:, :, :48, :48])
    assert not seen[3][:, :, 38:].any()


def test_windows_of_a_function_of_pixels_are_the_whole():
    images = torch.rand(1, 3, 100, 75)
    torch.testing.assert_close(over_windows(lambda part: 2 * part, images, inference(stride=16)), 2 * images)


def test_views_have_truncated_sizes_and_turn_back():
    image = torch.rand(1, 3, 31, 45)
    sizes = [tuple(view.shape) for view in views(image, (0.5, 1.0), mirror=True)]
    assert sizes == [(2, 3, 15, 22), (2, 3, 31, 45)]
    (view,) = views(image, (1.0,), mirror=True)
    turned = upright(view)
    assert torch.equal(turned[0], turned[1])
    (single,) = views(image, (1.0,), mirror=False)
    assert torch.equal(upright(single), image)


def test_the_mean_colour_is_zero(networks):
    pixels = np.full((20, 30, 3), (124, 116, 104), np.uint8)
    assert normalised(networks.embedding, pixels).abs().max() < 0.01


def test_probabilities_of_a_mirror_image_are_mirrored(networks):
    pixels = semantic_settings.scene(1)[0][:, :48]
    settings = inference(scales=(1.0, 0.75))
    found = class_probabilities(networks, pixels, settings)
    assert found.shape == (CLASSES, 48, 48)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
    mirrored = class_probabilities(networks, np.ascontiguousarray(pixels[:, ::-1]), settings)
    np.testing.assert_allclose(mirrored[:, :, ::-1], found, atol=1e-5)


def test_scales_are_averaged(networks):
    pixels = semantic_settings.scene(1)[0]
    one, half, both = (
        class_probabilities(networks, pixels, inference(scales=scales))
        for scales in ((1.0,), (0.5,), (1.0, 0.5))
    )
    np.testing.assert_allclose(both, (one + half) / 2, atol=1e-5)


def test_maps_are_those_of_the_most_probable_classes(seeing):
    pixels, labels = semantic_settings.scene(4)
    assert (label_map(class_probabilities(seeing, pixels, inference())) == labels).mean() > 0.9


def test_embeddings_have_unit_length_in_every_window(networks):
    image = normalised(networks.embedding, semantic_settings.scene(1)[0])
    found = embed(networks.embedding, image, inference())
    assert found.shape == (1, 8, 48, 64)
    torch.testing.assert_close(found.norm(dim=1)[:, :, :16], torch.ones(1, 48, 16))
    assert found.norm(dim=1).max() < 1 + 1e-5


def memory_of(retriever, indices):
    return Memory.of([retriever.memorise(*semantic_settings.scene(index)) for index in indices])


@pytest.mark.parametrize("colors", [False, True])
def test_retrieval_finds_the_classes_of_like_segments(seeing, colors):
    retriever = Retriever(
        seeing.embedding, inference(), retrieval(scales=(1.0, 0.5)), CLASSES, color_features=colors
    )
    memory = memory_of(retriever, (1, 2, 3, 4))
    assert set(memory.labels.tolist()) == {0, 1, 2}
    torch.testing.assert_close(memory.prototypes.norm(dim=1), torch.ones(len(memory.labels)))
    for index in (5, 6):
        pixels, labels = semantic_settings.scene(index)
        scores = retriever.scores(pixels, memory)
        assert scores.shape == (CLASSES, 48, 64)
        torch.testing.assert_close(scores.sum(dim=0), torch.ones(48, 64))
        assert (label_map(scores.numpy()) == labels).mean() > 0.9


def test_segments_without_a_class_are_not_remembered(seeing):
    retriever = Retriever(seeing.embedding, inference(), retrieval(), CLASSES, color_features=False)
    pixels, labels = semantic_settings.scene(1)
    none = np.where(labels == 0, VOID, UNLABELLED).astype(np.uint8)
    assert len(retriever.memorise(pixels, none).labels) == 0
    whole = retriever.memorise(pixels, labels)
    twice = Retriever(
        seeing.embedding, inference(), retrieval(memory_scales=(1.0, 0.5)), CLASSES, color_features=False
    ).memorise(pixels, labels)
    assert len(whole.labels) < len(twice.labels)


def test_only_background_and_tagged_classes_are_raised():
    scores = torch.tensor([[[0.5, 0.2]], [[0.3, 0.1]], [[0.2, 0.04]], [[0.1, 0.05]]])
    raised = emphasised(scores, [2, 3], floor=0.15)
    torch.testing.assert_close(
        raised, torch.tensor([[[1.0, 0.4]], [[0.3, 0.1]], [[1.0, 0.2]], [[2 / 3, 1 / 3]]])
    )


# --- pseudo-labels ------------------------------------------------------------------------------------


def labeler(networks):
    return PseudoLabeler(networks, WALK, inference(), CLASSES)


def test_classifier_s_labels_are_of_the_annotation_s_classes_alone(seeing):
    pixels, labels = semantic_settings.scene(1)
    found = labeler(seeing).from_classifier(pixels, np.where(labels == 2, UNLABELLED, labels))
    assert found.shape == (CLASSES, 48, 64)
    assert not found[2].any()
    assert (label_map(found.numpy()) == labels).mean() > 0.85
    without = labeler(seeing).from_classifier(pixels, np.zeros_like(labels))
    assert not without[1:].any()
    assert without[0].any()


def test_activations_spread_to_pixels_that_are_alike(seeing):
    """A spot within the square is enough for the walk to fill it, and only the square."""
    pixels, labels = semantic_settings.scene(1)
    cams = np.zeros((1, 48, 64), np.float32)
    ys, xs = np.nonzero(labels == 1)
    cams[0, ys[0] + 4 : ys[0] + 16, xs[0] + 4 : xs[0] + 16] = 1
    found = labeler(seeing).from_cams(pixels, cams, [1], 6)
    assert not found[2].any()
    assert found[1][labels == 1].mean() > 3 * found[1][labels == 0].mean()
    assert found[0][labels == 1].mean() < 0.8 < 0.98 < found[0][labels == 0].mean()
    assert found[1][labels == 1].median() > 0.05


@pytest.mark.parametrize("alpha", [6.0, 2.0])
def test_background_is_the_doubt_to_a_power(seeing, alpha):
    """On an image of one colour the walk makes all pixels equal: means of the scores remain."""
    cams = np.full((2, 48, 48), 0.25, np.float32)
    cams[1] = 0.5
    found = labeler(seeing).from_cams(np.full((48, 48, 3), 200, np.uint8), cams, [1, 2], alpha)
    expected = torch.tensor([0.5**alpha, 0.25, 0.5])[:, None, None].expand(3, 48, 48)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


SCALES = inference(scales=(0.75, 1.0))


def test_second_classifier_s_labels_are_background_and_tagged_classes(seeing):
    pixels, labels = semantic_settings.scene(1)
    second = PseudoLabeler(seeing, WALK, SCALES, CLASSES)
    found = second.from_second_classifier(pixels, [1])
    assert found.shape == (CLASSES, 48, 64)
    assert not found[2].any()
    assert (label_map(found.numpy()) == labels).mean() > 0.85
    other = second.from_second_classifier(pixels, [2])
    assert not other[1].any()
    assert other[0].any()
    assert other[2].any()


def test_second_classifier_s_logits_are_averaged_over_scales_and_mirrors(networks):
    """A walk for which all pixels are alike makes means of the scores."""
    pixels = semantic_settings.scene(2)[0][:, :48]
    walk = params.RandomWalk(stride=8, sharpness=1e-9, power=1, squarings=0)
    second = PseudoLabeler(networks, walk, SCALES, CLASSES)
    image = normalised(networks.embedding, pixels)
    logits = []
    for view in views(image, SCALES.scales, mirror=True):
        logits.append(resize_bilinear(upright(view_logits(networks, view, SCALES)), 6, 6))
    mean = torch.cat(logits).mean(dim=0).softmax(dim=0)
    assert len(torch.cat(logits)) == 4
    expected = by_maximum(mean).mean(dim=(1, 2))[:, None, None].expand(CLASSES, 48, 48)
    torch.testing.assert_close(second.from_second_classifier(pixels, [1, 2]), expected, rtol=1e-4, atol=1e-5)
    mirrored = second.from_second_classifier(np.ascontiguousarray(pixels[:, ::-1]), [1, 2])
    torch.testing.assert_close(mirrored, expected, rtol=1e-4, atol=1e-5)


def points_of(labels):
    """A spot of background, one of class 1, and a void strip."""
    points = np.full_like(labels, UNLABELLED)
    points[:4, :4] = labels[:4, :4]
    ys, xs = np.nonzero(labels == 1)
    points[ys[0] + 8 : ys[0] + 12, xs[0] + 10 : xs[0] + 14] = 1
    points[44:] = VOID
    return points


def test_points_label_the_segments_nearest_to_theirs(seeing):
    pixels, labels = semantic_settings.scene(1)
    points, regions = points_of(labels), np.zeros_like(labels, dtype=np.uint16)
    found = labeler(seeing).from_segments(pixels, points, regions, Clustering((6, 6), 10))
    assert found.shape == (CLASSES, 48, 64)
    assert not found[2].any()
    predicted = label_map(found.numpy())
    assert (predicted == labels).mean() > 0.85, "void pixels have scores, too"
    kept = void_kept(predicted, points)
    assert (kept[44:] == VOID).all()
    assert np.array_equal(kept[:44], predicted[:44])


def test_segments_without_a_labelled_one_have_no_scores(seeing):
    pixels, labels = semantic_settings.scene(1)
    for code in (UNLABELLED, VOID):
        nothing, regions = np.full_like(labels, code), np.zeros_like(labels, dtype=np.uint16)
        assert not labeler(seeing).from_segments(pixels, nothing, regions, Clustering((3, 3), 2)).any()


def test_segments_have_the_shares_of_their_pixels_nearest_labels():
    """Two labelled segments and one without a label, three of whose pixels are like the first."""
    east, north = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    slanted = torch.tensor([0.8, 0.6])
    embeddings = torch.stack([east, north, slanted, slanted, slanted, north])
    segments = Segments(
        embeddings=embeddings,
        joint=embeddings.flip(1),
        own=torch.tensor([0, 1, 2, 2, 2, 2]),
        image=torch.zeros(3, dtype=torch.int64),
        label=torch.tensor([1, 3, UNLABELLED]),
        region=torch.zeros(3, dtype=torch.int64),
        prototypes=torch.stack([east, north, slanted]),
        joint_prototypes=torch.stack([north, east, slanted]),
    )
    assert neighbour_shares(segments, 4).tolist() == [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0.75, 0, 0.25]]


def test_classes_are_divided_by_their_maximum():
    scores = torch.tensor([[[0.5, 0.25]], [[0.0, 0.0]]])
    assert by_maximum(scores).tolist() == [[[1.0, 0.5]], [[0.0, 0.0]]]


def test_an_image_of_too_many_cells_is_one_line(seeing, monkeypatch):
    monkeypatch.setattr(pseudo_labels, "MOST_CELLS", 47)
    with pytest.raises(UserError, match="64 x 48 pixels has 48 cells, and a walk takes 47") as caught:
        labeler(seeing).from_cams(semantic_settings.scene(1)[0], np.zeros((1, 48, 64), np.float32), [1], 6)
    assert "\n" not in str(caught.value)
