"""No constant and no rule of SPML's segments and losses can change unnoticed.

Each case rewrites one expression of the source, loads the changed modules beside the real ones and
expects a check against the release's arrays to fail; the same checks pass on the source as it is.
"""

from __future__ import annotations

import pytest
import torch

from tests.mutations import load_modules

MODULES = {  # in the order of their imports
    "portions": "pipeline.methods.spml.portions",
    "features": "pipeline.methods.spml.features",
    "clustering": "pipeline.methods.spml.clustering",
    "segments": "pipeline.methods.spml.segments",
    "affinity": "pipeline.methods.spml.affinity",
    "contrast": "pipeline.methods.spml.contrast",
    "relations": "pipeline.methods.spml.relations",
    "retrieval": "pipeline.methods.spml.retrieval",
    "walk": "pipeline.methods.spml.walk",
}
CPU = torch.device("cpu")


def near(actual, expected, rtol=1e-4, atol=1e-5):
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol)


def check_grids(code, load):
    arrays = load("grids")
    for case in range(4):
        expected = arrays[f"grid_{case}_labels"]
        grid = tuple(arrays[f"grid_{case}_clusters"].tolist())
        assert torch.equal(code.features.grid_clusters(*expected.shape, grid, CPU), expected)
        near(code.features.location_features(*expected.shape, CPU), arrays[f"loc_{case}"] - 0.5)
    colors = code.features.color_features(arrays["color_image"], 16, 20)
    near(colors, arrays["color_location"][..., 2:])


def check_kmeans(code, load):
    arrays = load("kmeans")
    start = arrays["embeddings"][None], arrays["initial_labels"][None]
    for iterations in (1, 2, 5, 10):
        clusters = code.clustering.spherical_kmeans(*start, 12, iterations)
        assert torch.equal(clusters[0], arrays[f"labels_after_{iterations}"])
    near(code.clustering.normalise(arrays["normalize_in"]), arrays["normalize_out"])
    labels = arrays["split_semantic"], arrays["labels_after_10"]
    assert torch.equal(code.clustering.majority(*labels, 12, 256), arrays["majority_labels"])


def segments_of(code, arrays, grid):
    embedding = arrays["embedding"].requires_grad_()
    location = code.features.location_features(*embedding.shape[2:], CPU)
    clustering = code.segments.Clustering(grid, 10)
    return code.segments.make_segments(
        embedding, arrays["semantic"], arrays["instance"], location, clustering
    )


def check_segments(code, load):
    arrays = load("segments_full")
    segments = segments_of(code, arrays, (6, 6))
    assert torch.equal(segments.own, arrays["cluster_index"])
    for name, expected in (
        ("image", "batch_index"),
        ("label", "semantic_label"),
        ("region", "instance_label"),
    ):
        assert torch.equal(getattr(segments, name)[segments.own], arrays[f"cluster_{expected}"])
    near(segments.joint, arrays["cluster_embedding_with_loc"])
    slope = torch.autograd.grad((segments.joint * arrays["weight"]).sum(), arrays["embedding"])[0]
    near(slope, arrays["grad_embedding"], rtol=1e-3, atol=1e-6)


def check_terms(code, load):
    for file in ("objective", "objective_memory"):
        arrays = load(file)
        segments, relations = segments_of(code, arrays, (4, 4)), code.relations
        names = ("prototype", "prototype_semantic_label", "prototype_semantic_tag")
        others, tags = None, arrays["tags"][:, 1:6] > 0
        if file == "objective_memory":
            parts = [torch.cat([arrays[f"memory{index}_{name}"] for index in (0, 1)]) for name in names]
            others = relations.Others(parts[0], parts[1], parts[2][:, 1:6] > 0)
        terms = {
            "annotation": 0.3 * relations.semantic_annotation(segments, others, 6.0),
            "cooccurrence": 0.3
            * relations.semantic_cooccurrence(segments, tags, others, 8.0, skip_untagged=False),
            "similarity": 0.1 * relations.image_similarity(segments, 16.0, joint=True),
        }
        for name, term in terms.items():
            slope = torch.autograd.grad(term, arrays["embedding"], retain_graph=True)[0]
            expected = arrays[f"grad_{name}"]
            if name == "similarity":
                near(term, arrays[f"loss_{name}"], rtol=1e-3, atol=0)
                assert (slope - expected).norm() <= 0.02 * expected.norm()
            else:
                near(term, arrays[f"loss_{name}"])
                near(slope, expected, rtol=1e-3, atol=1e-6)


def check_densepose(code, load):
    arrays = load("feature_affinity")
    embedding, features = arrays["embedding"].requires_grad_(), arrays["local_features"]
    segments = code.segments.make_segments(
        embedding,
        arrays["semantic"].where(arrays["semantic"] != 6, 254),
        arrays["instance"],
        features[0, ..., :2],
        code.segments.Clustering((4, 4), 10, 0.1),
        features[..., 2:],
    )
    for count, least, name in ((1, 0.95, "tags_top1_095"), (3, 0.5, "tags_top3_050")):
        assert torch.equal(code.affinity.neighbour_classes(segments, 6, least, count), arrays[name] > 0)
    sets = code.relations.affinity_sets(segments, 6, 0.95)
    near(0.5 * code.relations.feature_affinity(segments, sets, None, 12.0), arrays["loss_affinity"])
    similarity = 0.1 * code.relations.image_similarity(segments, 16.0, joint=False)
    near(similarity, arrays["loss_similarity"], rtol=1e-3, atol=0)
    near(segments.joint, arrays["cluster_embedding_with_loc"])


def check_sets(code, load):
    """Sets of which prototype 0's is empty: its own segment counts above and, twice, below."""
    arrays = load("loss_set")
    pixels, prototypes = arrays["set_embeddings"].requires_grad_(), arrays["set_prototypes"].requires_grad_()
    relation = arrays["set_labels"].float() @ arrays["set_prototype_labels"].float().T > 0
    weights, rows = torch.full((300,), 1 / 300), torch.arange(300)
    loss = code.contrast.contrast(pixels, prototypes, arrays["set_own"], rows, relation, 8.0, weights)
    near(loss, arrays["set_loss"])
    slopes = torch.autograd.grad(loss, (pixels, prototypes))
    near(slopes[0], arrays["set_grad_embeddings"], rtol=1e-3, atol=1e-6)
    near(slopes[1], arrays["set_grad_prototypes"], rtol=1e-3, atol=1e-6)


def check_own(code, load):
    """A positive of e^-16 beside the own segment's e^16."""
    pixel, prototypes = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    zero, relation = torch.zeros(1, dtype=torch.int64), torch.tensor([[True, True, False]])
    loss = code.contrast.contrast(pixel, prototypes, zero, zero, relation, 16.0, torch.ones(1))
    near(loss, torch.tensor(16.0), rtol=1e-6, atol=0)


def check_retrieval(code, load):
    arrays = load("retrieval")
    ids, own = torch.unique(arrays["cluster_index"], return_inverse=True)
    queries = code.clustering.prototypes(arrays["cluster_embedding"], own, len(ids))
    memory = arrays["memory_prototypes"], arrays["memory_labels"]
    code.portions.CPU_ENTRIES = 30 * code.retrieval.QUERIES  # blocks of thirty
    labels = code.retrieval.nearest_labels(queries, *memory, 20)
    assert torch.equal(labels[own], arrays["top20"].long())  # as lists, a difference takes minutes to tell
    assert torch.equal(code.retrieval.votes(labels, 7).argmax(dim=1)[own], arrays["prediction"])


def check_walk(code, load):
    """Two pixels with cosine 0.99: exp(-1) apart."""
    matrix = code.walk.transitions(torch.tensor([[[[1.0, 0.99]], [[0.0, 0.0199**0.5]]]]), 5.0, 20)
    stay = 1 / (1 + torch.exp(torch.tensor(-1.0)))
    near(matrix, torch.stack([torch.stack([stay, 1 - stay]), torch.stack([1 - stay, stay])]))
    slow = torch.tensor([[0.99, 0.02], [0.01, 0.98]])
    near(code.walk.random_walk(torch.eye(2), slow, 6), torch.linalg.matrix_power(slow, 64))


CHECKS = {
    check.__name__.removeprefix("check_"): check
    for check in (
        check_grids,
        check_kmeans,
        check_segments,
        check_terms,
        check_densepose,
        check_sets,
        check_own,
        check_retrieval,
        check_walk,
    )
}

# (check that must fail, module, expression, what it becomes)
MUTATIONS = [
    ("grids", "features", ".round().long()", ".long()"),
    ("grids", "features", "rows[:, None] + grid[0] * columns", "rows[:, None] * grid[1] + columns"),
    ("grids", "features", "device=device) - 0.5", "device=device)"),
    ("grids", "features", "KERNEL = 5", "KERNEL = 3"),
    ("grids", "features", ").sqrt()", ")"),
    ("grids", "features", "colors - colors.mean(dim=(2, 3), keepdim=True)", "colors"),
    ("grids", "features", "colors.abs().amax", "colors.amax"),
    ("kmeans", "clustering", "embeddings.square()", "embeddings.abs()"),
    (
        "kmeans",
        "clustering",
        "return normalise(cluster_sums(embeddings, labels, clusters))",
        "return cluster_sums(embeddings, labels, clusters)",
    ),
    ("kmeans", "clustering", "range(iterations)", "range(iterations + 1)"),
    ("segments", "clustering", "embeddings * valid[..., None]", "embeddings"),
    ("segments", "segments", "valid = labels != VOID", "valid = labels < 254"),
    (
        "segments",
        "segments",
        "normalise(torch.cat([unit, places], dim=-1))",
        "torch.cat([unit, places], dim=-1)",
    ),
    ("segments", "segments", "_LABELS + labels.long()", "_LABELS"),
    ("segments", "segments", "_REGIONS + regions.long()", "_REGIONS"),
    ("segments", "segments", "(image * count + clusters)", "(clusters)"),
    ("densepose", "segments", "if clustering.joint_weight != 1", "if False"),
    ("densepose", "segments", "clustering.joint_weight * unit", "unit"),
    ("densepose", "affinity", "values >= least_similarity", "values >= 0.5"),
    (
        "densepose",
        "affinity",
        "segments.image[:, None] != segments.image[labelled]",
        "segments.image[:, None] < 0",
    ),
    (
        "densepose",
        "affinity",
        "segments.joint_prototypes @ segments.joint_prototypes",
        "segments.prototypes @ segments.prototypes",
    ),
    ("densepose", "relations", "sets | ~sets.any(dim=1, keepdim=True)", "sets"),
    ("densepose", "relations", "segments.joint if joint else segments.embeddings", "segments.joint"),
    (
        "terms",
        "relations",
        "relation = region[:, None] == region",
        "relation = segments.label[there][:, None] == segments.label[there]",
    ),
    ("terms", "relations", "(share / count).expand(count)", "(_shares(pixels, len(pixels))).expand(count)"),
    ("terms", "relations", "labelled = labels < UNLABELLED", "labelled = labels <= UNLABELLED"),
    ("terms", "relations", "own = places[own]", "own = own % len(labels)"),
    (
        "terms",
        "relations",
        "labels = torch.cat([labels, others.labels])",
        "labels = torch.cat([labels, others.labels * 0])",
    ),
    ("terms", "relations", "_share(tags, of_segments)", "~_share(tags, of_segments)"),
    ("sets", "contrast", "own_negative = itself * (1 - own_positive)", "own_negative = itself * 0"),
    ("sets", "contrast", "itself.where(alone, ", "itself.where(alone & False, "),
    ("sets", "contrast", "others.scatter_(1, own, 0)", "others"),
    ("sets", "contrast", "-slope * (b / a)", "-slope"),
    ("sets", "contrast", "own_negative - b * alone", "own_negative"),
    ("sets", "contrast", "slope = concentration * weights", "slope = weights"),
    ("sets", "contrast", "(concentration / math.log(2) * pixels) @", "(concentration * pixels) @"),
    (
        "own",
        "contrast",
        "positive.sum(dim=1, keepdim=True))",
        "positive.sum(dim=1, keepdim=True) + itself - itself)",
    ),
    ("retrieval", "retrieval", "queries @ memory[:size]", "-queries @ memory[:size]"),
    ("retrieval", "retrieval", "found.indices + start", "found.indices"),
    ("retrieval", "retrieval", ".gather(1, order)", "[:, :count]"),
    ("walk", "walk", "sub_(1).mul_(sharpness)", "mul_(sharpness)"),
    ("walk", "walk", "pow_(power)", "pow_(power - 1)"),
    ("walk", "walk", "range(2**squarings)", "range(2 * squarings)"),
    ("walk", "walk", "total.sum(dim=0, keepdim=True)", "total.sum()"),
]


@pytest.mark.parametrize("check", CHECKS)
def test_source_as_it_is_passes(load, check):
    CHECKS[check](load_modules(MODULES), load)


@pytest.mark.parametrize(("check", "module", "old", "new"), MUTATIONS)
def test_change_is_noticed(load, check, module, old, new):
    code = load_modules(MODULES, module, old, new)
    with pytest.raises((AssertionError, RuntimeError, IndexError)):
        CHECKS[check](code, load)
