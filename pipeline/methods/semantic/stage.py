"""What the stages of semantic segmentation do: train a network, and predict label maps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline import params
from pipeline.data.images import ImageStore
from pipeline.data.pack_writer import PackWriter
from pipeline.data.packs import Pack, encode_map
from pipeline.data.semantic_samples import SemanticImages
from pipeline.distributed import is_main, process_count
from pipeline.engine.devices import reproducible
from pipeline.engine.lock import discard, only_process
from pipeline.engine.loop import FitResult, fit
from pipeline.engine.rng import seed_everything
from pipeline.errors import UserError
from pipeline.files import replacing_folder
from pipeline.labels.semantic_labels import SemanticLabels
from pipeline.methods.semantic.build import build_semantic
from pipeline.methods.semantic.bundle import Description, describe, load_semantic, save_semantic
from pipeline.methods.semantic.inference import check_finite, class_probabilities, label_map
from pipeline.models.pixel_embedding import ClassifiedEmbedding
from pipeline.priors.crf.inference import smooth_scenes

CRF = "_crf"  # ends the name of a pack whose maps a dense CRF has smoothed


def train_semantic(
    settings: params.SemanticMethod,
    model: params.PixelEmbedding,
    store: ImageStore,
    labels: SemanticLabels,
    out: Path,
    *,
    start: Path | None = None,
    embedding: Path | None = None,
    regions: Path | None = None,
    seed: int,
    checkpoint: Path,
    key: str,
    name: str,
) -> FitResult:
    """Train one network on the label maps of `labels` and write it to the folder `out`.

    start: weights of the backbone; embedding: folder of a trained SPML, whose embedding a classifier is
    trained on; regions: pack of an over-segmentation, which SPML needs; checkpoint, key, name: as `fit` takes
    them, and `discard(checkpoint)` is left to the caller.  Raises UserError for files that do not fit.
    """
    classes = list(labels.classes)
    _check_batch(settings, model, name)
    weights = None
    if embedding is not None:
        check_classes(labels, describe(embedding).classes, embedding)
        weights = embedding / "model.safetensors"
    seed_everything(seed)
    method = build_semantic(settings, model, len(classes), start, weights)
    dataset = SemanticImages(
        store,
        Pack(labels.folder / "maps"),
        {image_id: image.tags for image_id, image in labels.images.items()},
        Pack(regions) if regions is not None else None,
        settings.augmentation,
        len(classes),
        seed,
    )
    result = fit(method, dataset, settings.train, seed=seed, checkpoint=checkpoint, key=key, name=name)
    if is_main():
        save_semantic(out, method.networks, Description(settings, model, classes), len(dataset))
    return result


def _check_batch(settings: params.SemanticMethod, model: params.PixelEmbedding, name: str) -> None:
    """Raise UserError where PSPNet's head, which learns, would see one image per process."""
    images = settings.train.batch_size / process_count()
    if model.head == "pspnet" and not isinstance(settings, params.PixelClassifier) and images < 2:
        problem = f"the head pspnet needs 2 images per process, and there are {process_count()} processes"
        raise UserError("params.yaml", name, problem, "raise batch_size or start fewer")


def check_classes(labels: SemanticLabels, classes: list[str], model: Path) -> None:
    """Raise UserError unless the labels have the classes of the model in the folder `model`."""
    if list(labels.classes) != classes:
        raise UserError(
            labels.folder, "classes", f"are not those of {model}", "run `dvc repro` to make both anew"
        )


class _Item(NamedTuple):
    image_id: int
    pixels: NDArray[np.uint8]
    probabilities: NDArray[np.float32]


@dataclass(frozen=True)
class _Predicted:
    """Images with their probabilities (C, H, W), each made when it is asked for.

    model: the folder of the networks.  Raises UserError for probabilities that are not finite.
    """

    model: Path
    networks: ClassifiedEmbedding
    settings: params.SemanticPredict
    store: ImageStore
    image_ids: list[int]

    def __len__(self) -> int:
        return len(self.image_ids)

    def __iter__(self) -> Iterator[_Item]:
        for image_id in self.image_ids:
            pixels = self.store.read(image_id)
            probabilities = class_probabilities(self.networks, pixels, self.settings)
            check_finite(probabilities, self.model, image_id)
            yield _Item(image_id, pixels, probabilities)


def predict_label_maps(
    model: Path,
    store: ImageStore,
    settings: params.SemanticPredict,
    out: Path,
    *,
    device: torch.device,
    executor: params.Executor,
    checkpoint: Path,
    key: str,
    name: str,
) -> None:
    """Write the packs `maps` and `maps_crf` into `out`: label maps of all images of the store.

    The one of the largest probability, the other of the largest after a dense CRF.  model: folder of a
    network that `train_semantic` wrote; checkpoint: a folder for this work alone, from which one that was
    killed goes on to the same bytes, as long as `key` (a hash of all that matters) is the same.  Raises
    UserError for a model that does not load.
    """
    networks, description = load_semantic(model, device)
    ids = sorted(record.id for record in store.records)
    with only_process(checkpoint, name, "predicting these maps"), reproducible(settings.threads):
        writers = [PackWriter(ids, checkpoint / ending, key) for ending in ("maps", f"maps{CRF}")]
        lacking = [set(writer.remaining) for writer in writers]
        items = _Predicted(model, networks, settings, store, sorted(set.union(*lacking)))
        what, processes = f"maps of {name}", settings.processes
        made = smooth_scenes(_maps, items, settings.dense_crf, processes, what, executor, device)
        for image_id, *maps in made:
            for writer, left, data in zip(writers, lacking, maps, strict=True):
                if image_id in left:
                    writer.add(image_id, data)
        with replacing_folder(out) as temporary:
            for writer, ending in zip(writers, ("", CRF), strict=True):
                writer.finish(temporary / f"maps{ending}", {"classes": description.classes})
    discard(checkpoint)


def _maps(item: _Item, smooth: NDArray[np.float32]) -> tuple[int, bytes, bytes]:
    return item.image_id, encode_map(label_map(item.probabilities)), encode_map(label_map(smooth))
