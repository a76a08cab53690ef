"""What the rows of the semantic task must say of the other sections of params.yaml, and of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pipeline.params.cams import BoxCamLabels, RefinedCams, TagCamLabels
from pipeline.params.data import Labels
from pipeline.params.references import known
from pipeline.params.semantic_labels import (
    GrownLabels,
    PartialMapFolder,
    ScribbleFolder,
    TagFile,
    WeakLabels,
)
from pipeline.params.semantic_methods import Spml
from pipeline.params.semantic_runs import (
    ClassifierRun,
    Embedding,
    RetrievedLabels,
    SemanticRow,
    SemanticRun,
    SpreadCamLabels,
    SpreadLabels,
    SpreadSegmentLabels,
)
from pipeline.params.starts import WeightFile

if TYPE_CHECKING:
    from pipeline.params.sections import Params

_NO_MAPS = "holds {kind}, which are no label maps; make some of them in {table}"
_KINDS = {"annotated_points": "points"}
_COSTLIER = ("tags", "points", "scribbles", "boxes", "pixels", "masks")


def check_semantic_rows(params: Params) -> None:
    """Raise ValueError unless all that the rows name exists and fits."""
    if params.paint and params.semantic_datasets:
        raise ValueError(
            f"paint must be empty: {params.semantic_datasets[0]} has label maps of its own, and paint makes"
            " them of instances"
        )
    for split in params.paint:
        if split not in ("train", "val"):
            raise ValueError(f"paint.{split}: the splits of a dataset are train and val")
    for name, weak in params.weak_labels.items():
        _check_maps(params, f"weak_labels.{name}.split", weak.split)
        if weak.kind == "annotated_points" and not params.import_densepose:
            raise ValueError(
                f"weak_labels.{name}.kind: annotated_points are DensePose's; for others, take points"
            )
    for table in ("own_tags", "own_scribbles", "own_maps"):
        for name in getattr(params, table):
            _check_maps(params, f"{table}.{name}", "train")
    for name, cams in params.cams.items():
        _check_tags(params, f"cams.{name}.labels", cams.labels)
        _check_start(params, f"cams.{name}.backbone", cams.backbone, cams.classifier.backbone)
    for name, refined in params.refined_cams.items():
        known(f"refined_cams.{name}.cams", refined.cams, params.cams)
        _check_same_tags(params, f"refined_cams.{name}.labels", refined)
        _check_start(params, f"refined_cams.{name}.backbone", refined.backbone, refined.network.backbone)
    for name, of_tags in params.tag_cam_labels.items():
        _check_cam_labels(params, f"tag_cam_labels.{name}", of_tags)
    for name, of_boxes in params.box_cam_labels.items():
        _check_cam_labels(params, f"box_cam_labels.{name}", of_boxes)
        _check_boxes(params, f"box_cam_labels.{name}.boxes", of_boxes.boxes)
        _check_boxes_of_tagged(params, f"box_cam_labels.{name}.boxes", of_boxes)
    for name, grown in params.grown_labels.items():
        _check_grown(params, f"grown_labels.{name}", grown)
    _check_embeddings(params)
    for name, spread in params.spread_labels.items():
        _check_spread(params, f"spread_labels.{name}", spread)
    for name, from_segments in params.spread_segment_labels.items():
        _check_spread_segments(params, f"spread_segment_labels.{name}", from_segments)
    for name, from_cams in params.spread_cam_labels.items():
        _check_spread_cams(params, f"spread_cam_labels.{name}", from_cams)
    # In the order of what is made of what, so that none is made of itself.
    second = [name for name, row in params.classifiers.items() if row.labels in params.retrieved_labels]
    for name in (name for name in params.classifiers if name not in second):
        _check_classifier(params, f"classifiers.{name}", params.classifiers[name])
    for name, retrieved in params.retrieved_labels.items():
        _check_retrieved(params, f"retrieved_labels.{name}", retrieved)
    for name in second:
        _check_classifier(params, f"classifiers.{name}", params.classifiers[name])
    _check_semantic_runs(params)
    _check_scored_labels(params)


def label_sources(params: Params, labels: str) -> set[str]:
    """The label set of the semantic task and all those that it was made of."""
    if labels in params.cam_labels:
        row = params.cam_labels[labels]
        return {labels, row.labels} | ({row.boxes} if isinstance(row, BoxCamLabels) else set())
    if labels in params.grown_labels:
        return {labels} | label_sources(params, params.grown_labels[labels].labels)
    if labels in params.spread:
        spread = params.spread[labels]
        seen = {spread.labels, params.embeddings[spread.embedding].labels}
        if isinstance(spread, RetrievedLabels):
            seen.add(params.classifiers[spread.classifier].labels)
        return {labels}.union(*(label_sources(params, name) for name in seen))
    return {labels}


def drawn_kind(params: Params, labels: str) -> str:
    """What people gave for a label set of the semantic task: tags, boxes, points, scribbles or pixels.

    Boxes tell the classes, too, so that with them tags cost nothing.
    """
    tables = {**params.weak_labels, **params.own_tags, **params.own_labels, **params.labels}
    kinds = {_given(tables[name]) for name in label_sources(params, labels) if name in tables}
    return max(kinds, key=_COSTLIER.index)


def _given(row: WeakLabels | TagFile | ScribbleFolder | PartialMapFolder | Labels) -> str:
    if isinstance(row, TagFile):
        return "tags"
    if isinstance(row, ScribbleFolder):
        return "scribbles" if row.length else "points"
    return _KINDS.get(row.kind, row.kind)


def _check_maps(params: Params, key: str, split: str) -> None:
    if split not in params.paint and not params.semantic_datasets:
        raise ValueError(f"{key}: there are no label maps of {split}; add {split} to paint")


def _check_tags(params: Params, key: str, labels: str) -> None:
    known(key, labels, {**params.weak_labels, **params.own_tags})
    for name, folder in params.import_maps.items():
        if not folder.background:
            raise ValueError(
                f"{key}: import_maps.{name} has no background, and class activation maps need one"
            )
    if labels in params.own_tags:
        return
    row = params.weak_labels[labels]
    if row.kind != "tags" or row.split != "train":
        raise ValueError(
            f"{key}: {labels} holds {row.kind} of {row.split}, and maps are made of train's tags"
        )


def _check_start(params: Params, key: str, backbone: str, architecture: str) -> None:
    known(key, backbone, params.starts)
    start = params.starts[backbone]
    if start.architecture != architecture:
        raise ValueError(f"{key}: {backbone} is for {start.architecture}, and the network has {architecture}")
    if isinstance(start, WeightFile) and start.whole is not None:
        trained = f"which {start.whole.supervision} have trained"
        raise ValueError(f"{key}: {backbone} holds a whole {start.content}, {trained}")


def _check_cam_labels(params: Params, key: str, row: TagCamLabels | BoxCamLabels) -> None:
    known(f"{key}.cams", row.cams, params.all_cams)
    _check_same_tags(params, f"{key}.labels", row)


def _check_same_tags(
    params: Params, key: str, row: RefinedCams | TagCamLabels | BoxCamLabels | SpreadCamLabels
) -> None:
    tags = params.all_cams[row.cams].labels
    if row.labels != tags:
        raise ValueError(f"{key}: {row.cams} are maps of {tags}, not of {row.labels}")


def _check_boxes(params: Params, key: str, boxes: str) -> None:
    tables = {**params.labels, **params.weak_labels}
    known(key, boxes, tables)
    row = tables[boxes]
    if row.kind != "boxes" or row.split != "train":
        raise ValueError(f"{key}: {boxes} holds {row.kind} of {row.split}, and boxes of train are needed")


def _check_boxes_of_tagged(params: Params, key: str, row: BoxCamLabels) -> None:
    """Boxes of a share must be of all images that have tags."""
    boxes, tags = params.weak_labels.get(row.boxes), params.weak_labels.get(row.labels)
    if boxes is None or boxes.percent == 100:
        return
    if tags is None or tags.seed != boxes.seed or tags.percent > boxes.percent:
        raise ValueError(
            f"{key}: {row.boxes} are of {boxes.percent:g} % of the images (seed {boxes.seed}), not of all"
            f" that have tags in {row.labels}; take boxes of a share at least as large, of the same seed"
        )


def _check_grown(params: Params, key: str, row: GrownLabels) -> None:
    _check_partial(params, f"{key}.labels", row.labels)
    known(f"{key}.segments", row.segments, params.all_segments)


def _check_embeddings(params: Params) -> None:
    for name, row in params.embeddings.items():
        key = f"embeddings.{name}"
        _check_settings(params, f"{key}.settings", row.settings, "spml")
        known(f"{key}.model", row.model, params.semantic_models)
        _check_partial(params, f"{key}.labels", row.labels)
        known(f"{key}.segments", row.segments, params.all_segments)
        _check_start(params, f"{key}.backbone", row.backbone, params.semantic_models[row.model].backbone)
        _check_batch(params, key, row)


def _check_batch(params: Params, key: str, row: Embedding | SemanticRun) -> None:
    """PSPNet's norm of one value per image needs two images; more processes need more, see the stage."""
    if params.semantic_models[row.model].head != "pspnet":
        return
    if params.semantic_methods[row.settings].train.batch_size < 2:
        raise ValueError(
            f"{key}.model: {row.model} has the head pspnet, which needs batches of 2 images; raise batch_size"
            f" in semantic_methods.{row.settings}.train"
        )


def _check_settings(
    params: Params, key: str, settings: str, kind: Literal["spml", "pixel_classifier", "supervised_semantic"]
) -> None:
    known(key, settings, params.semantic_methods)
    found = params.semantic_methods[settings].kind
    if found != kind:
        raise ValueError(f"{key}: {settings} configures {found}, and {kind} is needed")


def _check_partial(params: Params, key: str, labels: str) -> None:
    """The labels must be partial label maps of train, as annotations give them."""
    maps = {**params.own_labels, **params.cam_labels, **params.grown_labels}
    tables = {**params.weak_labels, **params.own_tags, **maps}
    known(key, labels, tables)
    if labels in params.own_tags:
        raise ValueError(f"{key}: {labels} {_NO_MAPS.format(kind='tags', table='tag_cam_labels')}")
    if labels not in params.weak_labels:
        return
    row = params.weak_labels[labels]
    if row.split != "train":
        raise ValueError(f"{key}: {labels} is of {row.split}; train on train")
    if row.kind in ("tags", "boxes"):
        table = "tag_cam_labels" if row.kind == "tags" else "box_cam_labels"
        raise ValueError(f"{key}: {labels} {_NO_MAPS.format(kind=row.kind, table=table)}")


def _check_trained_on(params: Params, key: str, row: SpreadLabels | SpreadSegmentLabels) -> None:
    """The labels must be those that the embedding was trained on, and of a kind that tells places."""
    known(f"{key}.embedding", row.embedding, params.embeddings)
    embedding = params.embeddings[row.embedding]
    if row.labels != embedding.labels:
        raise ValueError(
            f"{key}.labels: {row.embedding} was trained on {embedding.labels}, not on {row.labels}"
        )
    if row.labels in params.tag_cam_labels:
        raise ValueError(
            f"{key}.labels: {row.labels} are made of tags, whose maps a row of spread_cam_labels spreads"
        )


def _check_spread(params: Params, key: str, row: SpreadLabels) -> None:
    _check_trained_on(params, key, row)
    embedding = params.embeddings[row.embedding]
    settings = params.semantic_methods[embedding.settings]
    if isinstance(settings, Spml) and not settings.joint_classifier:
        raise ValueError(
            f"{key}.embedding: {row.embedding} has no classifier beside it; set joint_classifier: true in"
            f" semantic_methods.{embedding.settings}"
        )


def _check_spread_cams(params: Params, key: str, row: SpreadCamLabels) -> None:
    known(f"{key}.embedding", row.embedding, params.embeddings)
    known(f"{key}.cams", row.cams, params.all_cams)
    _check_same_tags(params, f"{key}.labels", row)
    labels = params.embeddings[row.embedding].labels
    if label_sources(params, labels) != {labels, row.labels}:
        raise ValueError(
            f"{key}.embedding: {row.embedding} was trained on {labels}, which is not made of the tags"
            f" {row.labels} alone"
        )


def _check_spread_segments(params: Params, key: str, row: SpreadSegmentLabels) -> None:
    _check_trained_on(params, key, row)
    segments = params.embeddings[row.embedding].segments
    if row.segments != segments:
        raise ValueError(
            f"{key}.segments: {row.embedding} was trained on the segments {segments}, not on {row.segments}"
        )


def _check_retrieved(params: Params, key: str, row: RetrievedLabels) -> None:
    known(f"{key}.embedding", row.embedding, params.embeddings)
    known(f"{key}.classifier", row.classifier, params.classifiers)
    classifier = params.classifiers[row.classifier]
    if classifier.labels not in params.spread_cam_labels:
        raise ValueError(
            f"{key}.classifier: {row.classifier} was trained on {classifier.labels}, and a second round"
            " follows on labels of spread_cam_labels alone"
        )
    if classifier.embedding != row.embedding:
        raise ValueError(
            f"{key}.embedding: {row.classifier} has the embedding {classifier.embedding}, not {row.embedding}"
        )
    if row.seed not in classifier.seeds:
        raise ValueError(f"{key}.seed: {row.classifier} is not trained with seed {row.seed}")
    tags = params.spread_cam_labels[classifier.labels].labels
    if row.labels != tags:
        raise ValueError(f"{key}.labels: {classifier.labels} are made of {tags}, not of {row.labels}")


def _check_classifier(params: Params, key: str, row: ClassifierRun) -> None:
    _check_row(params, key, row)
    _check_settings(params, f"{key}.settings", row.settings, "pixel_classifier")
    known(f"{key}.embedding", row.embedding, params.embeddings)
    known(f"{key}.labels", row.labels, params.spread)
    seen = params.embeddings[row.embedding].labels
    if seen not in label_sources(params, row.labels):
        raise ValueError(
            f"{key}.embedding: {row.embedding} was trained on {seen}, which {row.labels} is not made of"
        )


def _check_semantic_runs(params: Params) -> None:
    for name, row in params.semantic_runs.items():
        key = f"semantic_runs.{name}"
        _check_row(params, key, row)
        _check_settings(params, f"{key}.settings", row.settings, "supervised_semantic")
        known(f"{key}.model", row.model, params.semantic_models)
        _check_partial(params, f"{key}.labels", row.labels)
        _check_start(params, f"{key}.backbone", row.backbone, params.semantic_models[row.model].backbone)
        _check_batch(params, key, row)


def _check_scored_labels(params: Params) -> None:
    for name in params.scored_labels:
        if name not in params.spread:
            _check_partial(params, "scored_labels", name)
        _check_maps(params, "scored_labels", "train")
    if len(set(params.scored_labels)) != len(params.scored_labels):
        raise ValueError("scored_labels names a label set twice")


def _check_row(params: Params, key: str, row: SemanticRow) -> None:
    if key.endswith(".none"):
        raise ValueError("a run may not be called none: that word means no oracle")
    if len(set(row.seeds)) != len(row.seeds):
        raise ValueError(f"{key}.seeds names a seed twice")
    known(f"{key}.prediction", row.prediction, params.semantic_predict)
    if row.oracle == "none":
        return
    if row.oracle in params.trained:
        raise ValueError(
            f"{key}.oracle: the task of {row.oracle} is {params.trained[row.oracle].task}, and this row's is"
            f" {row.task}"
        )
    known(f"{key}.oracle", row.oracle, params.semantic_trained)
