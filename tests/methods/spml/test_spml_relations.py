from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pipeline.data.label_codes import UNLABELLED, VOID
from pipeline.methods.spml.affinity import neighbour_classes
from pipeline.methods.spml.features import location_features
from pipeline.methods.spml.memory import MemoryBank, joined
from pipeline.methods.spml.relations import (
    Others,
    affinity_sets,
    feature_affinity,
    image_similarity,
    semantic_annotation,
    semantic_cooccurrence,
)
from pipeline.methods.spml.retrieval import nearest_labels
from pipeline.methods.spml.segments import Clustering, make_segments

CPU = torch.device("cpu")


def voc_segments(arrays, embedding):
    location = location_features(*embedding.shape[2:], CPU)
    return make_segments(embedding, arrays["semantic"], arrays["instance"], location, Clustering((4, 4), 10))


def remembered(arrays):
    """The bank's two steps; () where the vector has none.  Of the tags, columns 1 to 5 are used."""
    return [
        Others(
            arrays[f"memory{index}_prototype"],
            arrays[f"memory{index}_prototype_semantic_label"],
            arrays[f"memory{index}_prototype_semantic_tag"][:, 1:6] > 0,
        )
        for index in (0, 1)
        if f"memory{index}_prototype" in arrays
    ]


def check_gradient(name, loss, embedding, expected):
    """The similarity terms are compared with the release's rounding, which is a per cent of the gradient."""
    slope = torch.autograd.grad(loss, embedding, retain_graph=True)[0]
    if name == "similarity":
        assert (slope - expected).norm() <= 0.02 * expected.norm()
    else:
        torch.testing.assert_close(slope, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["annotation", "cooccurrence", "similarity"])
@pytest.mark.parametrize("file", ["objective", "objective_memory"])
def test_terms_match_the_release(load, file, name):
    arrays = load(file)
    embedding = arrays["embedding"].requires_grad_()
    segments = voc_segments(arrays, embedding)
    others, tags = joined(remembered(arrays)), arrays["tags"][:, 1:6] > 0
    concentrations = dict(
        zip(("annotation", "cooccurrence", "similarity"), arrays["concentrations"].tolist(), strict=True)
    )
    weights = dict(zip(concentrations, arrays["weights"].tolist(), strict=True))
    terms = {
        "annotation": lambda k: semantic_annotation(segments, others, k),
        "cooccurrence": lambda k: semantic_cooccurrence(segments, tags, others, k, skip_untagged=False),
        "similarity": lambda k: image_similarity(segments, k, joint=True),
    }
    loss = weights[name] * terms[name](concentrations[name])
    tolerance = {"rtol": 1e-3, "atol": 0.0} if name == "similarity" else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(loss, arrays[f"loss_{name}"], **tolerance)
    check_gradient(name, loss, embedding, arrays[f"grad_{name}"])


@pytest.mark.parametrize("file", ["objective", "objective_memory"])
def test_nearest_prototypes_match_the_release_s_accuracy(load, file):
    """Which counts every prototype as its own neighbour, and unlabelled as a class."""
    arrays = load(file)
    parts = remembered(arrays)
    prototypes = torch.cat([arrays["prototype"], *(part.prototypes for part in parts)])
    labels = torch.cat([arrays["prototype_semantic"], *(part.labels for part in parts)])
    equal = nearest_labels(prototypes, prototypes, labels, 5) == labels[:, None]
    torch.testing.assert_close(equal.float().mean(), arrays["accuracy"], rtol=1e-4, atol=1e-5)


def densepose_segments(arrays, embedding):
    labels = arrays["semantic"].where(arrays["semantic"] != 6, UNLABELLED)  # 6 classes: 6 is unlabelled
    features = arrays["local_features"]
    return make_segments(
        embedding,
        labels,
        arrays["instance"],
        features[0, ..., :2],
        Clustering((4, 4), 10, joint_weight=0.1),
        features[..., 2:],
    )


def test_densepose_segments_match_the_release(load):
    arrays = load("feature_affinity")
    segments = densepose_segments(arrays, arrays["embedding"])
    tolerance = {"rtol": 1e-4, "atol": 1e-5}
    assert torch.equal(segments.own, arrays["cluster_index"])
    assert torch.equal(segments.image, arrays["prototype_batch"])
    torch.testing.assert_close(segments.joint, arrays["cluster_embedding_with_loc"], **tolerance)
    torch.testing.assert_close(segments.prototypes, arrays["prototype"], **tolerance)
    torch.testing.assert_close(segments.joint_prototypes, arrays["prototype_with_loc"], **tolerance)
    for count, least, name in ((1, 0.95, "tags_top1_095"), (3, 0.5, "tags_top3_050")):
        assert torch.equal(neighbour_classes(segments, 6, least, count), arrays[name] > 0)


def test_densepose_terms_match_the_release(load):
    arrays = load("feature_affinity")
    embedding = arrays["embedding"].requires_grad_()
    segments = densepose_segments(arrays, embedding)
    affinity = 0.5 * feature_affinity(segments, affinity_sets(segments, 6, 0.95), None, 12.0)
    torch.testing.assert_close(affinity, arrays["loss_affinity"], rtol=1e-4, atol=1e-5)
    check_gradient("affinity", affinity, embedding, arrays["grad_affinity"])
    similarity = 0.1 * image_similarity(segments, 16.0, joint=False)
    torch.testing.assert_close(similarity, arrays["loss_similarity"], rtol=1e-3, atol=0)
    check_gradient("similarity", similarity, embedding, arrays["grad_similarity"])


# --- properties ---------------------------------------------------------------------------------------

TAGS = torch.tensor([[True, False, False], [False, True, True], [False, False, False]])


def batch(*labels):
    """Three images; labels are drawn from those given."""
    generator = torch.Generator().manual_seed(0)
    embedding = torch.randn(3, 4, 6, 8, generator=generator)
    drawn = torch.tensor(labels)[torch.randint(0, len(labels), (3, 6, 8), generator=generator)]
    return embedding, drawn, torch.randint(0, 5, (3, 6, 8), generator=generator)


def segments_of(embedding, labels, regions):
    location = location_features(6, 8, CPU)
    return make_segments(embedding, labels, regions, location, Clustering((2, 2), 4))


def all_terms(segments, tags, others=None):
    return torch.stack(
        [
            image_similarity(segments, 16.0, joint=True),
            semantic_annotation(segments, others, 6.0),
            semantic_cooccurrence(segments, tags, others, 8.0, skip_untagged=False),
            feature_affinity(segments, affinity_sets(segments, 4, 0.95), None, 12.0),
        ]
    )


def test_the_order_of_images_does_not_matter():
    embedding, labels, regions = batch(0, 2, UNLABELLED, VOID)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(
        all_terms(segments_of(embedding[order], labels[order], regions[order]), TAGS[order]),
        all_terms(segments_of(embedding, labels, regions), TAGS),
        rtol=1e-5,
        atol=1e-6,
    )


def test_an_image_of_void_alone_changes_no_term():
    embedding, labels, regions = batch(0, 2, UNLABELLED, VOID)
    labels[1] = VOID
    kept = torch.tensor([0, 2])
    torch.testing.assert_close(
        all_terms(segments_of(embedding[kept], labels[kept], regions[kept]), TAGS[kept]),
        all_terms(segments_of(embedding, labels, regions), TAGS),
        rtol=1e-5,
        atol=1e-6,
    )


def test_void_pixels_have_no_part_and_unlabelled_ones_have():
    embedding, labels, regions = batch(0, 2, UNLABELLED, VOID)
    embedding.requires_grad_()
    segments = segments_of(embedding, labels, regions)
    terms = all_terms(segments, TAGS)
    for term in terms:
        moved = torch.autograd.grad(term, embedding, retain_graph=True)[0].abs().sum(dim=1) > 0
        assert not moved[labels == VOID].any()
    annotation = torch.autograd.grad(terms[1], embedding, retain_graph=True)[0].abs().sum(dim=1) > 0
    assert not annotation[labels == UNLABELLED].any()
    similarity = torch.autograd.grad(terms[0], embedding)[0].abs().sum(dim=1) > 0
    assert similarity[labels == UNLABELLED].all()


def test_one_class_and_no_label_are_an_annotation_loss_of_zero():
    for labels in ((1,), (UNLABELLED,), (VOID,), (1, UNLABELLED)):
        embedding, *rest = batch(*labels)
        embedding.requires_grad_()
        loss = semantic_annotation(segments_of(embedding, *rest), None, 6.0)
        assert loss.item() == 0
        assert not torch.autograd.grad(loss, embedding)[0].abs().max() > 1e-7


def test_a_batch_of_void_pixels_is_a_loss_of_zero():
    embedding, labels, regions = batch(VOID)
    embedding.requires_grad_()
    terms = all_terms(segments_of(embedding, labels, regions), TAGS)
    assert terms.tolist() == [0.0] * 4
    assert not torch.autograd.grad(terms.sum(), embedding)[0].any()


def test_images_that_share_all_tags_are_a_cooccurrence_loss_of_zero():
    segments = segments_of(*batch(0, 2, UNLABELLED))
    tags = torch.tensor([[True, False, True]] * 3)
    assert semantic_cooccurrence(segments, tags, None, 8.0, skip_untagged=False).item() == 0


def test_untagged_pixels_can_be_skipped():
    embedding, labels, regions = batch(0, 2, UNLABELLED)
    segments = segments_of(embedding.requires_grad_(), labels, regions)

    def pulled(skip):
        """How much the pixels of the untagged image and of the others move by themselves."""
        pixels = segments.embeddings.detach().requires_grad_()
        loss = semantic_cooccurrence(
            replace(segments, embeddings=pixels), TAGS, None, 8.0, skip_untagged=skip
        )
        slope = torch.autograd.grad(loss, pixels)[0].abs().sum(dim=1)
        untagged = segments.image[segments.own] == 2
        return slope[untagged].sum().item(), slope[~untagged].sum().item()

    assert pulled(True)[0] == 0
    assert pulled(False)[0] > 0
    assert pulled(True)[1] == pytest.approx(1.5 * pulled(False)[1], rel=1e-5)  # two thirds are left


def test_affinity_keeps_to_the_image_and_to_its_threshold():
    embedding, labels, regions = batch(UNLABELLED)
    labels[0, 0, 0] = 3
    segments = segments_of(embedding, labels, regions)
    found = neighbour_classes(segments, 4, -1.0)
    assert (found.nonzero()[:, 1] == 3).all()
    assert torch.equal(found.any(dim=1), segments.image == 0)
    assert torch.equal(neighbour_classes(segments, 4, -torch.inf), found), "without a threshold, too"
    alone = neighbour_classes(segments, 4, 0.999)
    assert alone.sum() == 1
    assert alone[segments.label == 3, 3].all()


def test_affinity_is_zero_where_no_segment_has_a_label():
    segments = segments_of(*batch(UNLABELLED))
    assert feature_affinity(segments, affinity_sets(segments, 4, 0.95), None, 12.0).item() == 0


# --- memory -------------------------------------------------------------------------------------------


def step_of(seed):
    generator = torch.Generator().manual_seed(seed)
    prototypes = torch.nn.functional.normalize(torch.randn(5 + seed, 4, generator=generator), dim=1)
    labels = torch.randint(0, 3, (len(prototypes),), generator=generator)
    return Others(prototypes, labels, torch.rand(len(prototypes), 3, generator=generator) < 0.5)


def test_the_bank_holds_the_last_steps_without_gradient():
    bank = MemoryBank(2)
    for seed in range(4):
        step = step_of(seed)
        bank.push([replace(step, prototypes=step.prototypes.requires_grad_())])
    assert [len(step.labels) for step in bank.held()] == [7, 8]
    assert not any(step.prototypes.requires_grad for step in bank.held())
    other = MemoryBank(2)
    other.push([step_of(0)])
    other.restore(bank.state(), CPU)
    for one, two in zip(bank.held(), other.held(), strict=True):
        assert torch.equal(one.prototypes, two.prototypes)
        assert torch.equal(one.labels, two.labels)
        assert torch.equal(one.tags, two.tags)


def test_a_bank_of_no_steps_holds_nothing():
    bank = MemoryBank(0)
    bank.push([step_of(1)])
    assert joined(bank.held()) is None


def test_the_order_of_remembered_steps_does_not_matter():
    segments = segments_of(*batch(0, 2, UNLABELLED))
    steps = [step_of(1), step_of(2)]
    torch.testing.assert_close(
        all_terms(segments, TAGS, joined(steps)), all_terms(segments, TAGS, joined(steps[::-1]))
    )
    assert not torch.equal(all_terms(segments, TAGS, joined(steps)), all_terms(segments, TAGS))
