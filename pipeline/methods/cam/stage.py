"""What the stages of class activation maps do: train the classifier, write the maps, refine them."""

from __future__ import annotations

from functools import partial
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from pipeline import params
from pipeline.data.images import ImageStore
from pipeline.data.pack_writer import PackWriter
from pipeline.data.packs import Pack, encode_map
from pipeline.distributed import first_object, is_main
from pipeline.engine.devices import reproducible
from pipeline.engine.lock import discard, only_process
from pipeline.engine.loop import FitResult, fit
from pipeline.engine.parallel import HERE, map_images
from pipeline.engine.rng import seed_everything
from pipeline.errors import UserError
from pipeline.methods.cam.boundaries import BoundaryDetection, ConfidentImages
from pipeline.methods.cam.bundle import load_classifier, save_classifier
from pipeline.methods.cam.classification import TagClassification
from pipeline.methods.cam.confident import confident_labels
from pipeline.methods.cam.inference import activation_maps, normalised, stored_size
from pipeline.methods.cam.packs import equal_sizes, full_size, open_maps, read_maps, write_maps
from pipeline.methods.cam.tagged_images import TaggedImages
from pipeline.methods.cam.tags import TaggedRecord, TagSource, check_images
from pipeline.methods.cam.walk import boundary_maps, spread
from pipeline.models.boundary import build_boundary_network
from pipeline.models.classifier import build_classifier


def train_cams(
    row: params.Cams,
    store: ImageStore,
    labels: TagSource,
    start: Path,
    out: Path,
    *,
    checkpoint: Path,
    key: str,
    name: str,
) -> FitResult:
    """Train the classifier of a row of `cams` on tags alone and write it to the folder `out`.

    start: weights of the backbone; checkpoint, key, name: as `fit` takes them.  Raises UserError for weights
    that do not fit, and for labels or images that there is nothing to learn from.
    """
    seed_everything(row.seed)
    classifier = build_classifier(row.classifier, len(labels.classes) - 1, start)
    dataset = TaggedImages(store, labels, row.augmentation, row.classifier.pixel_mean, row.seed)
    method = TagClassification(classifier)
    result = fit(method, dataset, row.train, seed=row.seed, checkpoint=checkpoint, key=key, name=name)
    if is_main():
        save_classifier(out, classifier, row.classifier, list(labels.classes))
    discard(checkpoint)
    return result


def write_cams(
    model: Path,
    store: ImageStore,
    labels: TagSource,
    inference: params.CamInference,
    out: Path,
    *,
    device: torch.device,
    checkpoint: Path,
    key: str,
    name: str,
) -> None:
    """Write the pack `out` of the maps of all images, by the classifier in the folder `model`.

    An image has the maps of its tags, in their order: (n, h, w) float16 in [0, 1]; n may be 0.  checkpoint: a
    folder for this work alone, from which one that was killed goes on to the same bytes, as long as `key` (a
    hash of all that matters) is the same.  Raises UserError for files that do not fit each other.
    """
    check_images(labels, store)
    classifier, classes = load_classifier(model, device)
    if classes != list(labels.classes):
        raise UserError(
            labels.folder, "classes", f"are not those of {model}", "run `dvc repro` to make both anew"
        )

    def maps_of(batch: list[int], images: Tensor) -> list[Tensor]:
        maps = activation_maps(classifier, images, inference)
        return [normalised(own, labels.images[key].tags) for key, own in zip(batch, maps, strict=True)]

    batches = equal_sizes(labels, inference.batch_size)
    with only_process(checkpoint, name, "making these maps"), reproducible(inference.threads):
        writer = PackWriter(chain.from_iterable(batches), checkpoint, key)
        write_maps(maps_of, store, labels, writer, batches, device, name)
        writer.finish(out, {"classes": classes, "stride": inference.stride})
    discard(checkpoint)


def refine_cams(
    row: params.RefinedCams,
    store: ImageStore,
    labels: TagSource,
    cams: Path,
    start: Path,
    out: Path,
    *,
    checkpoint: Path,
    key: str,
    name: str,
    executor: params.Executor = HERE,
) -> FitResult:
    """Refine the pack of maps `cams` to the pack `out`, in the format of `write_cams` (IRN, arXiv
    1904.05044).

    Confident labels are made of the maps, a boundary detector is trained on them, and the maps are spread up
    to the boundaries that it finds.  labels: the tags behind the maps; start: weights of the detector's
    frozen backbone; executor: where the confident labels are made; the rest as for `train_cams` and
    `write_cams`.  Each of the three parts goes on after a kill.
    """
    check_images(labels, store)
    maps = open_maps(cams, labels)
    confident = checkpoint / "confident"
    if is_main():
        _write_confident(row.confident, store, labels, maps, confident, key, name, executor)
    first_object(None)  # the other processes wait for the labels
    seed_everything(row.seed)
    network = build_boundary_network(row.network, start)
    dataset = ConfidentImages(store, Pack(confident), row.augmentation, row.network.pixel_mean, row.seed)
    method = BoundaryDetection(network, row.radius)
    training = checkpoint / "training"
    result = fit(method, dataset, row.train, seed=row.seed, checkpoint=training, key=key, name=name)
    network.eval()
    device = next(network.parameters()).device

    def maps_of(batch: list[int], images: Tensor) -> list[Tensor]:
        tags = [labels.images[image_id].tags for image_id in batch]
        own = [torch.from_numpy(read_maps(maps, *of)).to(device) for of in zip(batch, tags, strict=True)]
        boundaries = boundary_maps(network, images, row.walk.mirror)
        size = stored_size((images.shape[2], images.shape[3]), row.stride)
        return spread(own, boundaries, row.walk, size)

    if is_main():
        batches = equal_sizes(labels, row.walk.batch_size)
        with only_process(checkpoint, name, "refining these maps"), reproducible(row.walk.threads):
            writer = PackWriter(chain.from_iterable(batches), checkpoint, key)
            write_maps(maps_of, store, labels, writer, batches, device, name)
            writer.finish(out, {"classes": list(labels.classes), "stride": row.stride})
    discard(checkpoint)
    return result


def _write_confident(
    settings: params.ConfidentLabels,
    store: ImageStore,
    labels: TagSource,
    maps: Pack,
    folder: Path,
    key: str,
    name: str,
    executor: params.Executor,
) -> None:
    """The pack `folder` of confident labels of all images."""
    with only_process(folder, name, "making its confident labels"):
        writer = PackWriter(labels.images, folder, key)
        items = [labels.images[image_id] for image_id in writer.remaining]
        label = partial(_confident, settings, store, maps)
        made = map_images(label, items, settings.processes, f"confident labels of {name}", executor)
        for image_id, data in made:
            writer.add(image_id, data)
        writer.finish(folder, {"classes": list(labels.classes)})


def _confident(
    settings: params.ConfidentLabels, store: ImageStore, maps: Pack, image: TaggedRecord
) -> tuple[int, bytes]:
    own = full_size(read_maps(maps, image.id, image.tags), (image.height, image.width))
    return image.id, encode_map(confident_labels(store.read(image.id), own, image.tags, settings))
