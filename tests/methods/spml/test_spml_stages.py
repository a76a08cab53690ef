"""SPML's stages from labels to predictions: what they write, that it repeats, that a kill changes nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.data.label_codes import UNLABELLED, VOID
from pipeline.data.pack_writer import PackWriter
from pipeline.data.packs import Pack, encode_map, write_pack
from pipeline.errors import UserError
from pipeline.methods.semantic import stage as semantic_stage
from pipeline.methods.semantic.bundle import load_semantic
from pipeline.methods.semantic.inference import label_map
from pipeline.methods.semantic.stage import train_semantic
from pipeline.methods.spml.inference import Memory, Retriever, emphasised
from pipeline.methods.spml.pseudo_labels import PseudoLabeler
from pipeline.methods.spml.segments import Clustering
from pipeline.methods.spml.stage import (
    as_probabilities,
)
from pipeline.models.pixel_embedding import PixelClassifier
from pipeline.priors.crf import inference as crf
from pipeline.priors.crf.inference import dense_crf
from tests import semantic_settings
from tests.methods.spml.spml_stages import CLASSES, COUNT, CPU, POINTS, SECOND, SEGMENTS, VOIDS, Made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = Made(tmp_path_factory.mktemp("spml"))
    for stage in (made.embed, made.spread, made.spread_segments, made.spread_cams):
        stage()
    for stage in (made.classify, made.retrieve, made.predict):
        stage()
    made.train("oracle", semantic_settings.supervised({"steps": 2, "batch_size": 2}), "pixels")
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("name", ["embedding", "classifier", "oracle"])
def test_trained_networks_load_again(made: Made, name: str) -> None:
    networks, description = load_semantic(made.folder / name, CPU)
    assert description.classes == CLASSES
    assert not networks.training
    assert json.loads((made.folder / name / "model.json").read_text())["train_images"] == COUNT


def test_the_classifier_keeps_the_embedding(made: Made) -> None:
    embedding, _ = load_semantic(made.folder / "embedding", CPU)
    classifier, _ = load_semantic(made.folder / "classifier", CPU)
    trained = embedding.embedding.state_dict()
    for name, values in classifier.embedding.state_dict().items():
        assert torch.equal(values, trained[name]), name


@pytest.mark.parametrize("name", ["spread", "spread_segments", "spread_cams", "retrieved"])
def test_pseudo_labels_are_a_label_set(made: Made, name: str) -> None:
    labels = made.labels(name)
    assert (labels.kind, labels.classes, labels.background) == ("spread", tuple(CLASSES), True)
    assert labels.images == made.labels("tags").images
    for index in range(2, COUNT + 1):
        # Classes that are no tags lose against raised ones, and are not set to 0 (SPML's release).
        possible = {0, 1, 2} if name == "retrieved" else {0, 2 - index % 2}
        assert set(np.unique(labels.partial_map(index))) <= possible
    info = json.loads((made.folder / name / "labels.json").read_text())["info"]
    assert "processes" not in info["made"]


def test_points_are_spread_as_the_recipe_says(made: Made) -> None:
    networks, _ = load_semantic(made.folder / "embedding", CPU)
    labeler = PseudoLabeler(networks, POINTS.walk, POINTS.windows, len(CLASSES))
    for index in (2, 3):
        pixels = made.store.read(index)
        scores = labeler.from_classifier(pixels, made.labels("points").partial_map(index)).numpy()
        expected = label_map(dense_crf(pixels, as_probabilities(scores), POINTS.dense_crf))
        np.testing.assert_array_equal(made.labels("spread").partial_map(index), expected)


def test_retrieved_scores_are_divided_as_the_row_says(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the right the tagged class leads by its own maximum, and would not with a floor of a half."""

    def scores(self: Retriever, pixels: np.ndarray, memory: Memory) -> torch.Tensor:
        found = torch.zeros(len(CLASSES), *pixels.shape[:2])
        found[0, :, :32], found[1:, :, :32] = 0.4, 0.05
        found[0, :, 32:], found[1:, :, 32:] = 0.3, 0.28
        return found

    monkeypatch.setattr(Retriever, "scores", scores)
    monkeypatch.setattr(crf, "dense_crf", lambda pixels, probabilities, settings: probabilities)
    made.spread_cams("divided")
    for index in (1, 2):
        values = made.labels("divided").partial_map(index)
        assert (values[:, 36:] == 2 - index % 2).all()
        assert (values[:, :28] == 0).all()


def test_segments_are_spread_as_the_recipe_says(made: Made) -> None:
    networks, _ = load_semantic(made.folder / "embedding", CPU)
    labeler = PseudoLabeler(networks, SEGMENTS.walk, SEGMENTS.windows, len(CLASSES))
    regions = Pack(made.folder / "regions")
    for index in (2, 3):
        pixels, points = made.store.read(index), made.labels("points").partial_map(index)
        clustering = Clustering((4, 4), 5)
        scores = labeler.from_segments(pixels, points, regions.read(index), clustering).numpy()
        expected = label_map(dense_crf(pixels, as_probabilities(scores), SEGMENTS.dense_crf))
        np.testing.assert_array_equal(made.labels("spread_segments").partial_map(index), expected)


def test_the_second_round_is_retrieved_from_what_the_classifier_says(made: Made) -> None:
    """Its memory has labels of the classifier alone: a classifier of another opinion changes them."""
    embedding, _ = load_semantic(made.folder / "embedding", CPU)
    classifier, _ = load_semantic(made.folder / "classifier", CPU)
    labeler = PseudoLabeler(classifier, SECOND.walk, SECOND.inference, len(CLASSES))
    windows, retrieval = SECOND.inference, SECOND.retrieval
    retriever = Retriever(embedding.embedding, windows, retrieval, len(CLASSES), color_features=False)
    images, labels = made.labels("tags").images, made.labels("retrieved")
    maps = {
        index: label_map(labeler.from_second_classifier(made.store.read(index), images[index].tags).numpy())
        for index in images
    }
    memory = Memory.of([retriever.memorise(made.store.read(index), maps[index]) for index in images])
    for index in (2, 3):
        pixels = made.store.read(index)
        scores = emphasised(retriever.scores(pixels, memory), images[index].tags, retrieval.floor).numpy()
        expected = label_map(dense_crf(pixels, as_probabilities(scores), SECOND.dense_crf))
        np.testing.assert_array_equal(labels.partial_map(index), expected)


def test_regions_of_another_size_are_refused_in_one_line(made: Made, tmp_path: Path) -> None:
    own = Made(tmp_path)
    shutil.copytree(made.folder / "embedding", tmp_path / "embedding")
    shutil.rmtree(tmp_path / "regions")
    small = encode_map(np.zeros((24, 32), np.uint16))
    write_pack(tmp_path / "regions", ((index, small) for index in range(1, COUNT + 1)), {})
    with pytest.raises(UserError, match="regions: image 1: its map of regions is not of the image's size"):
        own.spread_segments()


@pytest.mark.parametrize("name", ["spread", "spread_segments"])
def test_void_pixels_stay_void(made: Made, name: str) -> None:
    values = made.labels(name).partial_map(1)
    assert (values[:, VOIDS:] == VOID).all()
    assert (values[:, :VOIDS] < len(CLASSES)).all()


def test_predictions_are_two_packs_of_all_images(made: Made) -> None:
    for pack in (Pack(made.folder / "predictions" / name) for name in ("maps", "maps_crf")):
        assert pack.about == {"classes": CLASSES}
        assert pack.ids == list(range(1, COUNT + 1))
        assert all(pack.read(index).shape == (48, 64) for index in pack.ids)
        assert all(pack.read(index).max() < len(CLASSES) for index in pack.ids)


def test_all_of_it_repeats(made: Made) -> None:
    for name, stage in (
        ("embedding", made.embed),
        ("spread", made.spread),
        ("spread_segments", made.spread_segments),
        ("spread_cams", made.spread_cams),
        ("classifier", made.classify),
        ("retrieved", made.retrieve),
        ("predictions", made.predict),
    ):
        stage(f"{name}-again")
        assert contents(made.folder / f"{name}-again") == contents(made.folder / name)
    assert not list(made.folder.glob("checkpoint-*")), "resume points of finished work are gone"


@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("spread", 0),
        ("spread", 4),
        ("spread_segments", 4),
        ("retrieved", 3),
        ("retrieved", COUNT),
        ("retrieved", COUNT + 2),  # within the memory
        ("retrieved", 2 * COUNT),
        ("retrieved", 2 * COUNT + 2),
        ("spread_cams", 3),
        ("spread_cams", COUNT),
        ("spread_cams", COUNT + 2),  # within the memory
        ("spread_cams", 2 * COUNT),
        ("spread_cams", 2 * COUNT + 2),
        ("predictions", 5),
    ],
)
def test_killed_work_goes_on_to_the_same_bytes(
    made: Made, monkeypatch: pytest.MonkeyPatch, name: str, after: int
) -> None:
    """Every array in a shard of its own, and a kill once `after` of them are stored."""
    original, small = PackWriter.add, PackWriter.__init__
    added: list[int] = []

    def add(self: PackWriter, image_id: int, data: bytes) -> None:
        if len(added) == after:
            raise KeyboardInterrupt
        added.append(image_id)
        original(self, image_id, data)

    def count(self: PackWriter, image_id: int, data: bytes) -> None:
        again.append(image_id)
        original(self, image_id, data)

    def init(self: PackWriter, ids: object, resume: Path, key: str) -> None:
        small(self, ids, resume, key, shard_bytes=1)  # type: ignore[arg-type]

    again: list[int] = []
    run = {
        "spread": made.spread,
        "spread_segments": made.spread_segments,
        "spread_cams": made.spread_cams,
        "retrieved": made.retrieve,
        "predictions": made.predict,
    }[name]
    monkeypatch.setattr(PackWriter, "__init__", init)
    with monkeypatch.context() as killer:
        killer.setattr(PackWriter, "add", add)
        with pytest.raises(KeyboardInterrupt):
            run("killed")
    assert not (made.folder / "killed").exists(), "nothing half written"
    with monkeypatch.context() as counter:
        counter.setattr(PackWriter, "add", count)
        run("killed")
    assert contents(made.folder / "killed") == contents(made.folder / name)
    parts = {"spread": 1, "spread_segments": 1, "spread_cams": 3, "retrieved": 3, "predictions": 2}[name]
    assert len(added) + len(again) == COUNT * parts, "nothing is stored twice"
    shutil.rmtree(made.folder / "killed")


def test_an_image_without_labels_has_no_pseudo_labels(made: Made, tmp_path: Path) -> None:
    own = Made(tmp_path)
    shutil.rmtree(tmp_path / "points" / "maps")
    nothing = encode_map(np.full((48, 64), UNLABELLED, np.uint8))
    write_pack(tmp_path / "points" / "maps", ((index, nothing) for index in range(1, COUNT + 1)), {})
    shutil.copytree(made.folder / "embedding", tmp_path / "embedding")
    own.spread()
    own.spread_segments()
    assert all(
        (own.labels("spread_segments").partial_map(i) == UNLABELLED).all() for i in range(1, COUNT + 1)
    )
    assert all((own.labels("spread").partial_map(i) == UNLABELLED).all() for i in range(1, COUNT + 1))


def test_labels_of_other_classes_are_refused_in_one_line(made: Made, tmp_path: Path) -> None:
    own = Made(tmp_path)
    shutil.copytree(made.folder / "embedding", tmp_path / "embedding")
    shutil.copytree(made.folder / "spread", tmp_path / "spread")
    shutil.copytree(made.folder / "classifier", tmp_path / "classifier")
    for kind in ("points", "tags", "spread"):
        own.describe(kind, ["background", "red", "blue"])
    for stage in (own.spread, own.spread_segments, own.spread_cams, own.classify, own.retrieve):
        with pytest.raises(UserError, match=r"classes: are not those of .*embedding") as caught:
            stage()
        assert "\n" not in str(caught.value)
    own.describe("tags", CLASSES, background=False)
    for stage in (own.spread_cams, own.retrieve):
        with pytest.raises(UserError, match="have no background"):
            stage()


def test_scores_that_are_not_finite_are_refused(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that has diverged would label all pixels with the first class."""
    original = PixelClassifier.forward
    with monkeypatch.context() as broken:
        broken.setattr(PixelClassifier, "forward", lambda own, maps: original(own, maps) * torch.nan)
        broken_stages = (
            (made.spread, "embedding"),
            (made.retrieve, "classifier"),
            (made.predict, "classifier"),
        )
        for stage, model in broken_stages:
            with pytest.raises(UserError, match=f"{model}: image 1: this network gives scores that") as told:
                stage("broken")
            assert "\n" not in str(told.value)
    for folder in made.folder.glob("checkpoint-*"):
        shutil.rmtree(folder)


def test_pspnet_with_one_image_per_process_is_one_line(
    made: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(semantic_stage, "process_count", lambda: 2)
    model = semantic_settings.pixel_embedding(backbone="resnet18", head="pspnet")
    settings = semantic_settings.supervised({"batch_size": 3})
    rest = {"seed": 0, "checkpoint": tmp_path, "key": "", "name": "oracle"}
    with pytest.raises(UserError, match="oracle: the head pspnet needs 2 images per process, and"):
        train_semantic(settings, model, made.store, made.labels("pixels"), tmp_path, **rest)


def test_a_memory_without_any_segment_is_one_line(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Memory(torch.zeros(0, 8), torch.zeros(0, dtype=torch.int64))
    with monkeypatch.context() as empty:
        empty.setattr(Retriever, "memorise", lambda *_: nothing)
        with pytest.raises(UserError, match=r"spread_cam_labels\.spread_cams: no segment of any image"):
            made.spread_cams("empty")
        with pytest.raises(UserError, match=r"retrieved_labels\.retrieved: no segment of any image"):
            made.retrieve("empty")
    shutil.rmtree(made.folder / "checkpoint-spread-cams")
    shutil.rmtree(made.folder / "checkpoint-retrieved")


def test_scores_become_probabilities() -> None:
    scores = np.array([[[0.0, 1.0, 0.2]], [[0.0, 0.0, 0.6]]], np.float32)
    np.testing.assert_allclose(as_probabilities(scores), [[[0.5, 1.0, 0.25]], [[0.5, 0.0, 0.75]]])
