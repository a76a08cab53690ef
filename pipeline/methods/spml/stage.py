"""What the stages of SPML's pseudo-labels do: spread labels by a trained embedding, image by image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import params
from pipeline.data.images import ImageStore
from pipeline.data.label_codes import UNLABELLED
from pipeline.data.pack_writer import PackWriter
from pipeline.data.packs import Pack, decode, encode_map, encode_scores
from pipeline.engine.devices import reproducible
from pipeline.engine.lock import discard, only_process
from pipeline.engine.progress import Progress
from pipeline.errors import UserError
from pipeline.files import replacing_folder, write_json
from pipeline.labels.semantic_labels import SemanticLabels
from pipeline.methods.cam.packs import full_size, open_maps, read_maps
from pipeline.methods.cam.tags import check_background, check_images
from pipeline.methods.semantic.bundle import Description, load_semantic
from pipeline.methods.semantic.inference import check_finite, label_map
from pipeline.methods.semantic.stage import check_classes
from pipeline.methods.spml.inference import Memory, Retriever, emphasised
from pipeline.methods.spml.pseudo_labels import PseudoLabeler, void_kept
from pipeline.methods.spml.segments import Clustering
from pipeline.models.pixel_embedding import ClassifiedEmbedding
from pipeline.priors.crf.inference import smooth_scenes

Pixels = NDArray[np.uint8]
ScoresOf = Callable[[int, Pixels], Tensor]
"""An image's id and its pixels (H, W, 3) to scores (C, H, W), 0 or more."""


class _Scored(NamedTuple):
    """An image with its scores (C, H, W), and the label map (H, W) whose void pixels are kept, if any."""

    image_id: int
    pixels: Pixels
    scores: NDArray[np.float32]
    labels: Pixels | None

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """(C, H, W) scores divided by their sum over the classes."""
        return as_probabilities(self.scores)


@dataclass(frozen=True)
class _Images:
    """Images with their scores, each made when it is asked for.

    model: what the scores come from.  Raises UserError for scores that are not finite.
    """

    model: Path
    store: ImageStore
    image_ids: list[int]
    scores_of: ScoresOf
    labels: SemanticLabels | None

    def __len__(self) -> int:
        return len(self.image_ids)

    def __iter__(self) -> Iterator[_Scored]:
        for image_id in self.image_ids:
            pixels = self.store.read(image_id)
            scores = np.asarray(self.scores_of(image_id, pixels).float().cpu().numpy())
            check_finite(scores, self.model, image_id)
            labels = self.labels.partial_map(image_id) if self.labels is not None else None
            yield _Scored(image_id, pixels, scores, labels)


def spread_labels(
    row: params.SpreadLabels,
    model: Path,
    store: ImageStore,
    labels: SemanticLabels,
    out: Path,
    *,
    device: torch.device,
    executor: params.Executor,
    checkpoint: Path,
    key: str,
    name: str,
) -> None:
    """Write the label set `out` of pseudo-labels for points, scribbles or boxes (SPML's release).

    What the classifier beside the embedding says of an image's own classes, walked, and a dense CRF; void
    pixels of `labels` stay void.  model: folder of the trained SPML; checkpoint: a folder for this work
    alone, from which one that was killed goes on to the same bytes, as long as `key` (a hash of all that
    matters) is the same.  Raises UserError for files that do not fit each other.
    """
    networks, description = load_semantic(model, device)
    check_classes(labels, description.classes, model)
    check_images(labels, store)
    labeler = PseudoLabeler(networks, row.walk, row.windows, len(labels.classes))

    def scores_of(image_id: int, pixels: Pixels) -> Tensor:
        return labeler.from_classifier(pixels, labels.partial_map(image_id))

    with only_process(checkpoint, name, "spreading these labels"), reproducible(row.threads):
        writer = PackWriter(labels.images, checkpoint, key)
        images = _Images(model, store, writer.remaining, scores_of, labels)
        _smooth(row, images, writer, executor, device, f"labels {name}")
        _write(row, labels, writer, out)
    discard(checkpoint)


def spread_segment_labels(
    row: params.SpreadSegmentLabels,
    model: Path,
    store: ImageStore,
    labels: SemanticLabels,
    regions: Path,
    out: Path,
    *,
    device: torch.device,
    executor: params.Executor,
    checkpoint: Path,
    key: str,
    name: str,
) -> None:
    """Write the label set `out` of pseudo-labels for DensePose's points (SPML's release).

    The classes of the nearest labelled segments of the same image, walked, and a dense CRF; void pixels of
    `labels` stay void.  regions: pack of the over-segmentation; the rest as for `spread_labels`.
    """
    networks, description = load_semantic(model, device)
    check_classes(labels, description.classes, model)
    check_images(labels, store)
    cut = Pack(regions)
    labeler = PseudoLabeler(networks, row.walk, row.windows, len(labels.classes))
    clustering = Clustering((row.grid, row.grid), row.iterations)

    def scores_of(image_id: int, pixels: Pixels) -> Tensor:
        own = cut.read(image_id)
        if own.shape != pixels.shape[:2]:
            problem = "its map of regions is not of the image's size"
            raise UserError(cut.folder, f"image {image_id}", problem, "run `dvc repro` to make both anew")
        return labeler.from_segments(pixels, labels.partial_map(image_id), own, clustering)

    with only_process(checkpoint, name, "spreading these labels"), reproducible(row.threads):
        writer = PackWriter(labels.images, checkpoint, key)
        images = _Images(model, store, writer.remaining, scores_of, labels)
        _smooth(row, images, writer, executor, device, f"labels {name}")
        _write(row, labels, writer, out)
    discard(checkpoint)


def spread_cam_labels(
    row: params.SpreadCamLabels,
    model: Path,
    store: ImageStore,
    labels: SemanticLabels,
    cams: Path,
    out: Path,
    *,
    device: torch.device,
    executor: params.Executor,
    checkpoint: Path,
    key: str,
    name: str,
) -> None:
    """Write the label set `out` of pseudo-labels for tags (SPML's release), in three parts.

    Class activation maps, walked, and a dense CRF; a memory of all images' segments with the labels that
    this gave; each image's classes by its nearest segments in there, and a dense CRF.  labels: the tags;
    cams: pack of their maps; the rest as for `spread_labels`.  Each of the parts goes on after a kill.
    """
    networks, description = load_semantic(model, device)
    check_classes(labels, description.classes, model)
    check_images(labels, store)
    check_background(labels)
    maps, classes = open_maps(cams, labels), len(labels.classes)
    labeler = PseudoLabeler(networks, row.walk, row.windows, classes)
    retriever = _retriever(networks, description, row.windows, row.retrieval)

    def walked(image_id: int, pixels: Pixels) -> Tensor:
        image = labels.images[image_id]
        own = full_size(read_maps(maps, image_id, image.tags), (image.height, image.width))
        if not image.tags:  # all is background
            scores = torch.zeros(classes, *own.shape[1:])
            scores[0] = 1
            return scores
        return labeler.from_cams(pixels, own, image.tags)

    with only_process(checkpoint, name, "spreading these labels"), reproducible(row.threads):
        first = checkpoint / "walked"
        writer = PackWriter(labels.images, first, key)
        images = _Images(model, store, writer.remaining, walked, None)
        _smooth(row, images, writer, executor, device, f"walks of {name}")
        writer.finish(first, {"classes": list(labels.classes)})
        writer = PackWriter(labels.images, checkpoint / "memory", key)
        memory = _memory(retriever, store, Pack(first), writer, device, f"spread_cam_labels.{name}")
        writer = PackWriter(labels.images, checkpoint / "retrieved", key)
        images = _Images(model, store, writer.remaining, _retrieved(retriever, memory, labels), None)
        _smooth(row, images, writer, executor, device, f"labels {name}")
        _write(row, labels, writer, out)
    discard(checkpoint)


def retrieved_labels(
    row: params.RetrievedLabels,
    model: Path,
    classifier: Path,
    store: ImageStore,
    labels: SemanticLabels,
    out: Path,
    *,
    device: torch.device,
    executor: params.Executor,
    checkpoint: Path,
    key: str,
    name: str,
) -> None:
    """Write the label set `out` of the second round of pseudo-labels for tags (SPML's release).

    A memory of all images' segments with the labels that a classifier on the first round's pseudo-labels
    gives them; each image's classes by its nearest segments in there, and a dense CRF.  classifier: its
    folder; labels: the tags; the rest as for `spread_cam_labels`.
    """
    networks, description = load_semantic(model, device)
    classified, other = load_semantic(classifier, device)
    for folder, classes in ((model, description.classes), (classifier, other.classes)):
        check_classes(labels, classes, folder)
    check_images(labels, store)
    check_background(labels)
    labeler = PseudoLabeler(classified, row.walk, row.inference, len(labels.classes))
    retriever = _retriever(networks, description, row.inference, row.retrieval)

    with only_process(checkpoint, name, "spreading these labels"), reproducible(row.threads):
        first = checkpoint / "classified"
        writer = PackWriter(labels.images, first, key)
        left, total = writer.remaining, len(labels.images)
        with Progress(f"classes of {name}", total, "images", total - len(left)) as progress:
            for image_id in left:
                tags = labels.images[image_id].tags
                scores = labeler.from_second_classifier(store.read(image_id), tags).cpu().numpy()
                check_finite(scores, classifier, image_id)
                writer.add(image_id, encode_map(label_map(scores)))
                progress.advance()
        writer.finish(first, {"classes": list(labels.classes)})
        writer = PackWriter(labels.images, checkpoint / "memory", key)
        memory = _memory(retriever, store, Pack(first), writer, device, f"retrieved_labels.{name}")
        writer = PackWriter(labels.images, checkpoint / "retrieved", key)
        images = _Images(model, store, writer.remaining, _retrieved(retriever, memory, labels), None)
        _smooth(row, images, writer, executor, device, f"labels {name}")
        _write(row, labels, writer, out)
    discard(checkpoint)


def _retriever(
    networks: ClassifiedEmbedding,
    description: Description,
    windows: params.SemanticInference,
    retrieval: params.Retrieval,
) -> Retriever:
    settings = description.settings
    colors = isinstance(settings, params.Spml) and settings.color_features
    return Retriever(networks.embedding, windows, retrieval, len(description.classes), color_features=colors)


def _retrieved(retriever: Retriever, memory: Memory, labels: SemanticLabels) -> ScoresOf:
    """What the nearest segments of the memory say of an image, background and tagged classes raised."""

    def scores_of(image_id: int, pixels: Pixels) -> Tensor:
        scores = retriever.scores(pixels, memory)
        return emphasised(scores, labels.images[image_id].tags, retriever.retrieval.floor)

    return scores_of


def _memory(
    retriever: Retriever, store: ImageStore, maps: Pack, writer: PackWriter, device: torch.device, row: str
) -> Memory:
    """The segments of all images with the labels in `maps`, on `device`.

    writer: takes each image's, so that a killed work makes the rest alone; row: the row's TABLE.NAME.
    Raises UserError without any.
    """
    left = writer.remaining
    with Progress(f"memory of {row}", len(maps.ids), "images", len(maps.ids) - len(left)) as progress:
        for image_id in left:
            writer.add(image_id, _encoded(retriever.memorise(store.read(image_id), maps.read(image_id))))
            progress.advance()
    parts = [_decoded(data, device) for _, data in writer.members()]
    if not any(len(part.labels) for part in parts):
        problem = "no segment of any image has a class that others could be given"
        raise UserError("params.yaml", row, problem, "look at the class activation maps behind it")
    return Memory.of(parts)


def _encoded(memory: Memory) -> bytes:
    """One record per segment: a prototype and its label."""
    prototypes = memory.prototypes.cpu().numpy()
    fields = [("prototype", np.float32, prototypes.shape[1:]), ("label", np.uint8)]
    records = np.empty(len(prototypes), fields)
    records["prototype"], records["label"] = prototypes, memory.labels.cpu().numpy()
    return encode_scores(records)


def _decoded(data: bytes, device: torch.device) -> Memory:
    records = decode(data)
    prototypes, labels = (np.ascontiguousarray(records[field]) for field in ("prototype", "label"))
    return Memory(torch.from_numpy(prototypes).to(device), torch.from_numpy(labels).to(device).long())


def _smooth(
    row: params.SpreadRow,
    images: _Images,
    writer: PackWriter,
    executor: params.Executor,
    device: torch.device,
    what: str,
) -> None:
    made = smooth_scenes(_label, images, row.dense_crf, row.processes, what, executor, device)
    for image_id, data in made:
        writer.add(image_id, data)


def _label(image: _Scored, smooth: NDArray[np.float32]) -> tuple[int, bytes]:
    """The label map after a dense CRF.  An image without any score has no labels."""
    nothing = np.full(image.pixels.shape[:2], UNLABELLED, np.uint8)
    made = label_map(smooth) if image.scores.any() else nothing
    return image.image_id, encode_map(made if image.labels is None else void_kept(made, image.labels))


def as_probabilities(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores (C, H, W), 0 or more, divided by their sum over the classes; 1 / C where all are 0."""
    total = scores.sum(axis=0, keepdims=True)
    shares = np.divide(scores, total, out=np.full_like(scores, 1 / len(scores)), where=total > 0)
    return np.asarray(shares, np.float32)


def _write(row: params.SpreadRow, labels: SemanticLabels, writer: PackWriter, out: Path) -> None:
    """labels.json, without what makes no difference to the labels, and maps/."""
    made = row.model_dump(mode="json", exclude={"processes"})
    info: dict[str, Any] = {"kind": "spread", "background": labels.background, "made": made}
    images = [asdict(image) for image in labels.images.values()]
    content = {"info": info, "classes": list(labels.classes), "images": images}
    with replacing_folder(out) as temporary:
        writer.finish(temporary / "maps", {"classes": list(labels.classes)})
        write_json(temporary / "labels.json", content, indent=None)
