"""SPML's stages on small scenes: they learn, go on after a kill, and share a batch between processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipeline.data.label_codes import UNLABELLED
from pipeline.engine.loop import fit
from pipeline.engine.protocol import Remembers
from pipeline.methods.semantic.build import build_networks, build_semantic
from pipeline.models.pixel_embedding import FrozenEmbedding
from pipeline.weights import save_weights
from tests import semantic_settings
from tests.semantic_settings import CLASSES, pixel_embedding

SCRIPT = Path(__file__).with_name("spml_training.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    semantic_settings.write_scenes(folder)
    return folder


def made(settings, **changes):
    torch.manual_seed(0)
    return build_semantic(settings, pixel_embedding(**changes), CLASSES)


def batch(folder, labels="partial"):
    dataset = semantic_settings.images(folder, labels)
    return [dataset[index, 0] for index in range(4)]


def test_losses_carry_their_names_and_weights(folder):
    samples = batch(folder)
    losses = made(semantic_settings.spml()).losses(samples, 0)
    names = {"annotation", "cooccurrence", "similarity", "pixels"}
    assert {name for name in losses if name.startswith("loss_")} == {f"loss_{name}" for name in names}
    changed = semantic_settings.spml(
        annotation=semantic_settings.relation(6.0, 2.0), similarity=semantic_settings.relation(16.0, 0.3)
    )
    doubled = made(changed).losses(samples, 0)
    assert doubled["loss_annotation"].item() == pytest.approx(2 * losses["loss_annotation"].item(), rel=1e-5)
    assert doubled["loss_similarity"].item() == pytest.approx(3 * losses["loss_similarity"].item(), rel=1e-5)
    assert doubled["loss_cooccurrence"].item() == pytest.approx(losses["loss_cooccurrence"].item(), rel=1e-5)
    assert losses["metric_segments"] > 9


@pytest.mark.parametrize(
    ("change", "terms"),
    [
        ({"joint_weight": 0.5}, {"similarity", "affinity"}),
        ({"color_features": False}, {"similarity", "affinity"}),
        ({"affinity_threshold": -1.0}, {"affinity"}),
        ({"similarity_location": False}, {"similarity"}),
        ({"grid": 2}, {"similarity", "affinity"}),
        ({"iterations": 0}, {"similarity", "affinity"}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_setting_changes_the_terms_that_it_is_for(folder, change, terms):
    """And no other one: each dot of a class is one labelled segment, whatever the clusters."""
    settings = semantic_settings.densepose(similarity_location=True)
    samples = batch(folder)
    before, after = (made(each).losses(samples, 0) for each in (settings, settings.model_copy(update=change)))
    names = {"annotation", "similarity", "affinity"}
    changed = {
        name
        for name in names
        if after[f"loss_{name}"].item() != pytest.approx(before[f"loss_{name}"].item(), rel=1e-6)
    }
    assert changed == terms


def test_the_classifier_s_loss_has_the_annotation_s_weight(folder):
    settings = semantic_settings.spml(dropout=0.0)
    samples = batch(folder)
    once = made(settings).losses(samples, 0)["loss_pixels"].item()
    heavy = settings.model_copy(update={"annotation": settings.annotation.model_copy(update={"weight": 0.1})})
    assert made(heavy).losses(samples, 0)["loss_pixels"].item() == pytest.approx(0.1 * once, rel=1e-5)


def test_densepose_has_affinity_and_no_classifier(folder):
    method = made(semantic_settings.densepose())
    losses = method.losses(batch(folder), 0)
    assert set(losses) == {
        "loss_annotation",
        "loss_similarity",
        "loss_affinity",
        "loss_pixels",
        "metric_segments",
    }
    assert losses["loss_pixels"].item() == 0
    assert losses["loss_affinity"].item() > 0
    assert method.bank.held() == []


def test_memory_changes_later_steps_and_holds_two(folder):
    method = made(semantic_settings.spml())
    samples = batch(folder)
    first, second = (method.losses(samples, step)["loss_annotation"].item() for step in (0, 1))
    assert first != pytest.approx(second, rel=1e-6)
    for step in (2, 3):
        method.losses(samples, step)
    assert len(method.bank.held()) == 2
    assert isinstance(method, Remembers)


def test_unlabelled_images_train_on_what_is_left(folder):
    samples = batch(folder)
    for sample in samples:
        sample.labels.fill_(UNLABELLED)
    losses = made(semantic_settings.spml()).losses(samples, 0)
    assert losses["loss_annotation"].item() == losses["loss_pixels"].item() == 0
    assert losses["loss_similarity"].item() > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "labels", "share"),
    [
        (semantic_settings.spml({"steps": 40, "log_every": 10, "warmup_steps": 4}), "partial", 0.8),
        (
            semantic_settings.densepose(train={"steps": 40, "log_every": 10, "warmup_steps": 4}),
            "partial",
            0.9,
        ),
        (semantic_settings.supervised({"steps": 40, "log_every": 10, "warmup_steps": 4}), "full", 0.6),
    ],
    ids=["spml", "densepose", "supervised"],
)
def test_training_lowers_the_loss(folder, tmp_path, settings, labels, share):
    dataset = semantic_settings.images(folder, labels)
    result = fit(made(settings), dataset, settings.train, seed=1, checkpoint=tmp_path, key="", name="spml")
    assert result.history[-1]["loss"] < share * result.history[0]["loss"]


def test_a_classifier_learns_on_a_trained_embedding_that_stays(folder, tmp_path):
    trained = made(semantic_settings.spml()).networks
    save_weights(trained, tmp_path / "model.safetensors")
    settings = semantic_settings.classifier({"steps": 6})
    torch.manual_seed(5)
    method = build_semantic(settings, pixel_embedding(), CLASSES, embedding=tmp_path / "model.safetensors")
    dataset = semantic_settings.images(folder, "full", with_regions=False)
    classifier = method.networks.classifier.last.weight.clone()
    fit(method, dataset, settings.train, seed=1, checkpoint=tmp_path / "run", key="", name="classifier")
    after = method.networks.embedding.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in trained.embedding.state_dict().items())
    assert not torch.equal(method.networks.classifier.last.weight, classifier)


def test_networks_are_what_their_settings_train():
    frozen = build_networks(semantic_settings.classifier(), pixel_embedding(), CLASSES)
    assert isinstance(frozen, FrozenEmbedding)
    assert build_networks(semantic_settings.spml(), pixel_embedding(), CLASSES).detached
    assert not build_networks(semantic_settings.supervised(), pixel_embedding(), CLASSES).detached


# --- in processes of their own ------------------------------------------------------------------------


def run_script(root: Path, out: Path, scenario: str, *launcher: str) -> Path:
    environment = os.environ | {"PYTHONPATH": str(root), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, str(SCRIPT), scenario, str(out)]
    done = subprocess.run(
        command, env=environment, cwd=out, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def alone(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_script(root, tmp_path_factory.mktemp("alone"), "alone")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["weights.safetensors", "history.json"])
def test_a_killed_training_goes_on_to_the_same_bytes(alone, name):
    """Its memory, too: the next steps see the segments of those before the kill."""
    killed, undisturbed = (alone / end / name for end in ("killed", "undisturbed"))
    assert killed.read_bytes() == undisturbed.read_bytes()
    assert (alone / "killed" / "resumed_at.txt").read_text() == "5"
    assert not any("memory" in key for key in load_file(alone / "killed" / "weights.safetensors"))


@pytest.mark.slow
def test_two_processes_train_as_one(root, alone, tmp_path):
    """Each has half of the batch and contrasts it with the segments of both.

    The joint classifier's batch norm has the statistics of one process; the embedding does not see it.
    """
    spread = run_script(
        root, tmp_path, "processes", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"
    )
    for kind in ("spml", "densepose"):
        one, two = (json.loads((folder / f"{kind}.json").read_text()) for folder in (alone, spread))
        assert [row.keys() for row in one] == [row.keys() for row in two]
        for name in one[0].keys() - {"step", "learning_rate", "loss", "loss_pixels"}:
            values = [[row[name] for row in history] for history in (one, two)]
            assert values[1] == pytest.approx(values[0], rel=1e-3, abs=1e-6), name
