"""What the stages of SPML's pseudo-labels do: spread labels by a trained embedding, image by image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@dataclass(frozen=True)
class Spreading:
    """What every stage of pseudo-labels works on, and where it writes.

    model: folder of the trained SPML; labels: what people gave, a label set of the images in `store`; out:
    folder of the label set to write; executor: where the dense CRF runs; checkpoint: a folder for this work
    alone, from which one that was killed goes on to the same bytes, as long as `key` (a hash of all that
    matters) is the same; name: the row's.
    """

    model: Path
    store: ImageStore
    labels: SemanticLabels
    out: Path
    device: torch.device
    executor: params.Executor
    checkpoint: Path
    key: str
    name: str

    def networks(self, folder: Path) -> tuple[ClassifiedEmbedding, Description]:
        """The networks in `folder`.  Raises UserError if they do not fit the labels, or those the images."""
        networks, description = load_semantic(folder, self.device)
        check_classes(self.labels, description.classes, folder)
        check_images(self.labels, self.store)
        return networks, description

    @contextmanager
    def begun(self, row: params.SpreadRow) -> Iterator[None]:
        """Hold the resume points for this process; they are gone when the work is done."""
        with only_process(self.checkpoint, self.name, "spreading these labels"), reproducible(row.threads):
            yield
        discard(self.checkpoint)

    def writer(self, part: str = "") -> PackWriter:
        """Of one part of the work, an array per image, with what an earlier process left."""
        return PackWriter(self.labels.images, self.checkpoint / part, self.key)

    def smooth(
        self,
        row: params.SpreadRow,
        writer: PackWriter,
        scores_of: ScoresOf,
        what: str,
        kept: SemanticLabels | None = None,
    ) -> None:
        """Give `writer` the label maps that a dense CRF makes of the scores of all images that it lacks.

        kept: labels whose void pixels stay void.
        """
        images = _Images(self.model, self.store, writer.remaining, scores_of, kept)
        title = f"{what} {self.name}"
        made = smooth_scenes(_label, images, row.dense_crf, row.processes, title, self.executor, self.device)
        for image_id, data in made:
            writer.add(image_id, data)

    def write(self, row: params.SpreadRow, writer: PackWriter) -> None:
        """labels.json, without what makes no difference to the labels, and maps/."""
        made, labels = row.model_dump(mode="json", exclude={"processes"}), self.labels
        info: dict[str, Any] = {"kind": "spread", "background": labels.background, "made": made}
        images = [asdict(image) for image in labels.images.values()]
        content = {"info": info, "classes": list(labels.classes), "images": images}
        with replacing_folder(self.out) as temporary:
            writer.finish(temporary / "maps", {"classes": list(labels.classes)})
            write_json(temporary / "labels.json", content, indent=None)


def spread(row: params.SpreadRow, beside: Path | None, work: Spreading) -> None:
    """Write the label set of pseudo-labels that `row` asks for, as SPML's release makes them.

    beside: what its kind reads beside model, images and labels: the pack of regions or of class activation
    maps, the folder of a classifier, or None.  Raises UserError for files that do not fit each other.
    """
    match row:
        case params.SpreadLabels():
            _spread_given(row, work)
        case params.SpreadSegmentLabels():
            assert beside is not None
            _spread_segments(row, beside, work)
        case params.SpreadCamLabels():
            assert beside is not None
            _spread_cams(row, beside, work)
        case params.RetrievedLabels():
            assert beside is not None
            _retrieve(row, beside, work)


def _spread_given(row: params.SpreadLabels, work: Spreading) -> None:
    """Of points, scribbles or boxes: what the classifier beside the embedding says of an image's own classes,
    walked, and a dense CRF; void pixels of the labels stay void."""
    networks, _ = work.networks(work.model)
    labeler = PseudoLabeler(networks, row.walk, row.windows, len(work.labels.classes))

    def scores_of(image_id: int, pixels: Pixels) -> Tensor:
        return labeler.from_classifier(pixels, work.labels.partial_map(image_id))

    with work.begun(row):
        writer = work.writer()
        work.smooth(row, writer, scores_of, "labels", work.labels)
        work.write(row, writer)


def _spread_segments(row: params.SpreadSegmentLabels, regions: Path, work: Spreading) -> None:
    """Of DensePose's points: the classes of the nearest labelled segments of the same image, walked, and a
    dense CRF; void pixels of the labels stay void.  regions: pack of the over-segmentation."""
    networks, _ = work.networks(work.model)
    cut = Pack(regions)
    labeler = PseudoLabeler(networks, row.walk, row.windows, len(work.labels.classes))
    clustering = Clustering((row.grid, row.grid), row.iterations)

    def scores_of(image_id: int, pixels: Pixels) -> Tensor:
        own = cut.read(image_id)
        if own.shape != pixels.shape[:2]:
            problem = "its map of regions is not of the image's size"
            raise UserError(cut.folder, f"image {image_id}", problem, "run `dvc repro` to make both anew")
        return labeler.from_segments(pixels, work.labels.partial_map(image_id), own, clustering)

    with work.begun(row):
        writer = work.writer()
        work.smooth(row, writer, scores_of, "labels", work.labels)
        work.write(row, writer)


def _spread_cams(row: params.SpreadCamLabels, cams: Path, work: Spreading) -> None:
    """Of tags: class activation maps, walked, and a dense CRF; then as `_retrieve` by the labels that this
    gave.  cams: pack of the maps."""
    networks, description = work.networks(work.model)
    labels = work.labels
    check_background(labels)
    maps, classes = open_maps(cams, labels), len(labels.classes)
    labeler = PseudoLabeler(networks, row.walk, row.windows, classes)

    def walked(image_id: int, pixels: Pixels) -> Tensor:
        image = labels.images[image_id]
        own = full_size(read_maps(maps, image_id, image.tags), (image.height, image.width))
        if not image.tags:  # all is background
            scores = torch.zeros(classes, *own.shape[1:])
            scores[0] = 1
            return scores
        return labeler.from_cams(pixels, own, image.tags, row.alpha)

    with work.begun(row):
        writer = work.writer("first")
        work.smooth(row, writer, walked, "walks of")
        retriever = _retriever(networks, description, row.windows, row.retrieval)
        _by_nearest(row, writer, retriever, work, f"spread_cam_labels.{work.name}")


def _retrieve(row: params.RetrievedLabels, classifier: Path, work: Spreading) -> None:
    """The second round for tags: what a classifier on the first round's pseudo-labels says gives the labels
    of the memory.  classifier: its folder."""
    networks, description = work.networks(work.model)
    classified, _ = work.networks(classifier)
    labels = work.labels
    check_background(labels)
    labeler = PseudoLabeler(classified, row.walk, row.inference, len(labels.classes))

    with work.begun(row):
        writer = work.writer("first")
        left, total = writer.remaining, len(labels.images)
        with Progress(f"classes of {work.name}", total, "images", total - len(left)) as progress:
            for image_id in left:
                tags = labels.images[image_id].tags
                scores = labeler.from_second_classifier(work.store.read(image_id), tags).cpu().numpy()
                check_finite(scores, classifier, image_id)
                writer.add(image_id, encode_map(label_map(scores)))
                progress.advance()
        retriever = _retriever(networks, description, row.inference, row.retrieval)
        _by_nearest(row, writer, retriever, work, f"retrieved_labels.{work.name}")


def _by_nearest(
    row: params.SpreadCamLabels | params.RetrievedLabels,
    first: PackWriter,
    retriever: Retriever,
    work: Spreading,
    title: str,
) -> None:
    """A memory of all images' segments with the labels in `first`; each image's classes by its nearest
    segments in there, and a dense CRF.  title: the row's TABLE.NAME."""
    folder = work.checkpoint / "first"
    first.finish(folder, {"classes": list(work.labels.classes)})
    memory = _memory(retriever, work.store, Pack(folder), work.writer("memory"), work.device, title)
    writer = work.writer("retrieved")
    work.smooth(row, writer, _retrieved(retriever, memory, work.labels), "labels")
    work.write(row, writer)


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
