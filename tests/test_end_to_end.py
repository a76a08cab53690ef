"""The pipeline as a user runs it, on a micro dataset: side by side, serially, killed, changed."""

from __future__ import annotations

import contextlib
import csv
import ctypes
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from pipeline.workflow.stage import digest
from tests.clone import clone, git, replaced, run

MICRO = {
    "train: 1500": "train: 24",
    "val: 200": "val: 8",
    "size: 96\n    seed: 0": "size: 64\n    seed: 0",
    "images: 3600": "images: 32",
    "size: 64\n    seed: 1000000": "size: 32\n    seed: 1000000",
    "steps: 800": "steps: 4",
    "steps: 1300": "steps: 6",
    "steps: 500": "steps: 6",
    "steps: 1400": "steps: 6",
    "steps: 300 ": "steps: 4 ",
    "steps: 400 ": "steps: 4 ",
    "steps: 600 ": "steps: 4 ",
    "steps: 200 ": "steps: 4 ",
    "percent: 4.0": "percent: 25.0",
    "burn_in: 600 ": "burn_in: 3 ",
    "points: 256": "points: 32",
    "class_threshold: 0.9": "class_threshold: 0.1",
    "batch_size: 8\n      optimizer": "batch_size: 2\n      optimizer",
    "batch_size: 16\n      optimizer": "batch_size: 2\n      optimizer",
    "warmup_steps: 50": "warmup_steps: 2",
    "warmup_steps: 20": "warmup_steps: 2",
    "checkpoint_every: 200": "checkpoint_every: 2",
    "log_every: 20": "log_every: 1",
    "short_sides: [96]": "short_sides: [64]",
    "max_side: 96": "max_side: 64",
    "short_side: 96": "short_side: 64",
    "score_threshold: 0.05": "score_threshold: 0.001",
    "detections_per_image: 100": "detections_per_image: 5",
    "network: student         # of runs": "network: both  # of runs",
    "bootstrap_samples: 1000": "bootstrap_samples: 100",
}
# A row for every stage and every kind of method: what a second row of a kind adds is time.
ROWS = {
    "runs": ("oracle", "boxinst", "boxteacher", "projection", "mal", "condinst_mal", "mask2former_4"),
    "distilled": ("guided_4",),
    "baselines": ("fill", "ellipse_crf"),
    "pseudo_labels": ("mal_masks",),
    "splits": ("masks_4",),
    "weak_labels": ("tags", "points", "pixels"),
    "grown_labels": ("grown_point",),
    "box_cam_labels": (),
    "embeddings": ("embed_tag", "embed_point"),
    "spread_labels": ("spread_point",),
    "classifiers": ("spml_point",),
    "semantic_runs": ("semantic_oracle",),
}
# What a launch that is killed does again: each kind of stage, some beside each other, some waiting.
AGAIN = (
    "labels@boxes",
    "train@projection",
    "predict@projection",
    "evaluate@projection",
    "train_semantic@semantic_oracle",
    "predict_semantic@semantic_oracle",
    "evaluate_semantic@semantic_oracle",
    "grown_labels@grown_point",
    "baseline@fill",
    "evaluate_baseline@fill",
    "compare@demo",
    "report@demo",
)
SCORED = ("cam_tags", "grown_point", "spread_tag", "spread_point")


def micro(preset: str) -> str:
    """The demo's params at micro size, with the rows of ROWS."""
    params = yaml.safe_load(replaced(preset, MICRO))
    for table, names in ROWS.items():
        params[table] = {name: params[table][name] for name in names}
    params["scored_labels"] = list(SCORED)
    params["runs"]["mask2former_4"]["oracle"] = params["distilled"]["guided_4"]["oracle"] = "none"
    return yaml.safe_dump(params, sort_keys=False)


@pytest.fixture(scope="module")
def repository(root: Path, tmp_path_factory: pytest.TempPathFactory, python_on_path: None) -> Path:
    """A clone of the working tree at micro size."""
    folder = tmp_path_factory.mktemp("clone")
    text = (root / "presets" / "demo.yaml").read_text(encoding="utf-8")
    clone(root, folder, {"params.yaml": micro(text)})
    return folder


@pytest.fixture(scope="module")
def done(repository: Path) -> subprocess.CompletedProcess[str]:
    return run(repository, "pipeline", "repro", "--jobs", "2")


def outputs(repository: Path) -> str:
    """Digest of everything that must not depend on how the stages were run."""
    lock = repository / "dvc.lock"
    results = tuple(
        path
        for path in sorted((repository / "reports").rglob("*"))
        if path.is_file() and path.name != "cost.csv"
    )
    texts = [(path.relative_to(repository), digest(path.read_bytes())) for path in (lock, *results)]
    return digest(*texts)


@pytest.mark.slow
class TestPipeline:
    """One clone, used by the tests in order."""

    def test_repro_ends_with_a_report(self, repository: Path, done: subprocess.CompletedProcess[str]) -> None:
        assert done.returncode == 0, done.stdout + done.stderr
        assert "report: reports/demo/index.html" in done.stdout
        assert "data:image/png" in (repository / "reports" / "demo" / "index.html").read_text(
            encoding="utf-8"
        )
        figures = {path.name for path in (repository / "reports" / "demo" / "figures").iterdir()}
        assert figures >= {"segments-gradient.png", "cams-cam_tags.png"}
        with (repository / "reports" / "demo" / "results.csv").open(encoding="utf-8", newline="") as file:
            rows = {row["run"]: row for row in csv.DictReader(file)}
        trained = {*ROWS["runs"], *ROWS["distilled"]}
        maps = {"spml_point", "semantic_oracle"}
        assert set(rows) == trained | maps | {"guided_4.teacher", *ROWS["baselines"]}
        assert (rows["spml_point"]["supervision"], rows["spml_point"]["task"]) == ("points", "semantic")
        assert all(float(rows[name]["mIoU"]) >= 0 for name in maps)
        assert {rows[name]["labelled_fraction"] for name in maps} == {"0.375"}  # 40 % of 24, rounded down
        assert {rows[name]["labelled_fraction"] for name in ("guided_4", "guided_4.teacher")} == {"0.25"}
        assert rows["boxinst"]["supervision"] == rows["condinst_mal"]["supervision"] == "boxes"
        assert (rows["mal"]["AP"], rows["mal"]["retention"]) == ("", "")
        assert float(rows["fill"]["mask_iou"]) > 30
        with (repository / "reports" / "demo" / "cost.csv").open(encoding="utf-8", newline="") as file:
            costs = list(csv.DictReader(file))
        assert trained <= {row["run"] for row in costs}
        compared = json.loads(
            (repository / "reports" / "demo" / "metrics" / "semantic_comparison.json").read_text("utf-8")
        )
        assert set(compared["label_maps"]["sets"]) == set(SCORED)

    def test_box_runs_saw_no_mask(self, repository: Path, done: subprocess.CompletedProcess[str]) -> None:
        data = repository / "data" / "demo"
        labels = json.loads((data / "labels" / "boxes" / "labels.json").read_text(encoding="utf-8"))
        assert labels["annotations"]
        for annotation in labels["annotations"]:
            assert set(annotation) == {"id", "image_id", "category_id", "bbox", "iscrowd", "area"}
            assert annotation["area"] == pytest.approx(annotation["bbox"][2] * annotation["bbox"][3])
        assert set(json.loads((data / "prepared" / "train" / "images.json").read_text())) == {
            "source",
            "images",
        }

    def test_nothing_is_left_to_do(self, repository: Path, done: subprocess.CompletedProcess[str]) -> None:
        again = run(repository, "dvc", "repro")
        assert "Data and pipelines are up to date" in again.stdout, again.stdout + again.stderr
        assert run(repository, "dvc", "status", "-q").returncode == 0
        assert "everything is up to date" in run(repository, "pipeline", "repro").stdout
        assert git(repository, "status", "--short", "--", "dvc.yaml", "params.yaml", "pipeline") == ""

    def test_a_box_run_trains_without_any_mask_on_disk(
        self, repository: Path, done: subprocess.CompletedProcess[str]
    ) -> None:
        """The proof by doing: every file with masks is gone, and the training gives the same bytes."""
        self._trains_without(repository, "boxinst", "prepared/annotations", "labels/masks", "labels/masks_4")

    def test_a_guided_run_trains_without_any_other_mask_on_disk(
        self, repository: Path, done: subprocess.CompletedProcess[str]
    ) -> None:
        """Labels, teacher and images are enough: with all other masks gone, the bytes are the same."""
        self._trains_without(repository, "guided_4", "prepared/annotations", "labels/masks")

    def test_a_killed_repro_goes_on_to_the_same_bytes(
        self, repository: Path, done: subprocess.CompletedProcess[str]
    ) -> None:
        expected = outputs(repository)
        for stage in ("train@boxinst", "predict@boxinst", "train_distilled@guided_4"):
            _forget(repository, stage)
        shutil.rmtree(repository / ".dvc" / "cache" / "runs")
        process = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", "train@boxinst"],
            cwd=repository,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        checkpoint = repository / ".checkpoints" / "demo" / "boxinst-seed-0" / "state.pt"
        deadline = time.monotonic() + 300
        while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert process.poll() is None, "nothing was left to kill"
        _kill_group(process)
        serial = run(repository, "dvc", "repro")
        assert serial.returncode == 0, serial.stdout + serial.stderr
        assert outputs(repository) == expected

    @pytest.mark.skipif(sys.platform != "linux", reason="keeps zombies by Linux's prctl")
    def test_a_launch_killed_at_random_moments_goes_on_to_the_same_bytes(
        self, repository: Path, done: subprocess.CompletedProcess[str]
    ) -> None:
        expected = outputs(repository)
        for stage in AGAIN:
            _forget(repository, stage)
        shutil.rmtree(repository / ".dvc" / "cache" / "runs")
        chance = random.Random(0)
        with _zombies_kept():
            for _ in range(3):
                _launch_and_kill(repository, chance.randint(1, 5), chance.uniform(0, 2))
            ended = run(repository, "pipeline", "repro", "--jobs", "2")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert _ran(ended) <= set(AGAIN)
        assert outputs(repository) == expected

    def test_another_title_runs_the_check_and_the_report(
        self, repository: Path, done: subprocess.CompletedProcess[str]
    ) -> None:
        path = repository / "params.yaml"
        text = path.read_text(encoding="utf-8")
        path.write_text(replaced(text, {"Weakly supervised segmentation, demo": "Micro"}), encoding="utf-8")
        assert _ran(run(repository, "pipeline", "repro")) == {"check", "report@demo"}
        assert "everything is up to date" in run(repository, "pipeline", "repro").stdout
        assert "Data and pipelines are up to date" in run(repository, "dvc", "repro").stdout

    def test_changing_one_method_runs_that_method_and_the_report(
        self, repository: Path, done: subprocess.CompletedProcess[str]
    ) -> None:
        shown = run(
            repository, "dvc", "exp", "run", "-S", "methods.projection_only.train.learning_rate=0.001"
        )
        assert shown.returncode == 0, shown.stdout + shown.stderr
        ran = {line.split("'")[1] for line in shown.stdout.splitlines() if line.startswith("Running stage")}
        assert ran == {
            "check",
            "train@projection",
            "predict@projection",
            "evaluate@projection",
            "compare@demo",
            "report@demo",
        }
        assert (
            "methods.projection_only.train.learning_rate" in run(repository, "dvc", "params", "diff").stdout
        )
        assert "projection.json" in run(repository, "dvc", "metrics", "diff").stdout
        assert "clustering_score" in run(repository, "dvc", "metrics", "show").stdout
        assert run(repository, "dvc", "plots", "show").returncode == 0

    def test_a_users_mistake_is_one_line(
        self, repository: Path, done: subprocess.CompletedProcess[str]
    ) -> None:
        path = repository / "params.yaml"
        text = path.read_text(encoding="utf-8")
        path.write_text(
            text.replace("small\n    labels: boxes", "small\n    labels: tags", 1), encoding="utf-8"
        )
        try:
            refused = run(repository, "pipeline", "repro")
        finally:
            path.write_text(text, encoding="utf-8")
        assert refused.returncode == 2
        assert refused.stderr.startswith("error: params.yaml: runs.boxinst.labels: 'tags' is not defined")
        assert refused.stderr.count("\n") == 1

    @staticmethod
    def _trains_without(repository: Path, run: str, *names: str) -> None:
        """Train a run while folders of the benchmark's data are somewhere else."""
        data = repository / "data" / "demo"
        model = data / "models" / run / "seed-0" / "model.safetensors"
        before = model.read_bytes()
        hidden = repository / "hidden"
        hidden.mkdir()
        for name in names:
            shutil.move(data / name, hidden / name.replace("/", "-"))
        try:
            shutil.rmtree(data / "models" / run)
            trained = subprocess.run(
                [sys.executable, "stages/train.py", "--run", run],
                cwd=repository,
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, "PYTHONPATH": "."},
            )
            assert trained.returncode == 0, trained.stderr
            assert model.read_bytes() == before
        finally:
            for name in names:
                shutil.move(hidden / name.replace("/", "-"), data / name)
            hidden.rmdir()


def _forget(repository: Path, stage: str) -> None:
    """Remove what a stage made, from the folder and from DVC's cache, so that it has to run again."""
    lock = yaml.safe_load((repository / "dvc.lock").read_text(encoding="utf-8"))
    cache = repository / ".dvc" / "cache"
    for made in lock["stages"][stage]["outs"]:
        path, key = repository / made["path"], made["md5"]
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        (cache / "files" / "md5" / key[:2] / key[2:]).unlink(missing_ok=True)  # of what git holds: none


def _ran(launch: subprocess.CompletedProcess[str]) -> set[str]:
    """Stages that a launch has run."""
    return {line.split(": ")[0] for line in launch.stdout.splitlines() if line.endswith(": started")}


@contextlib.contextmanager
def _zombies_kept() -> Iterator[None]:
    """Stages whose launcher was killed become children of this process (PR_SET_CHILD_SUBREAPER), which does
    not reap them meanwhile: as in a container without an init process, where they stay zombies."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    try:
        yield
    finally:
        ctypes.CDLL(None).prctl(36, 0, 0, 0, 0)
        for child in psutil.Process().children():
            if child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, 0)


def _launch_and_kill(repository: Path, events: int, seconds: float) -> None:
    """Launch; kill launcher and stages `seconds` after that many of them have started or ended."""
    launch = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "repro", "--jobs", "2"],
        cwd=repository,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert launch.stdout is not None
    while events:
        line = launch.stdout.readline()
        assert line, "nothing was left to kill"
        events -= line.endswith(": started\n") or ": done in " in line
    time.sleep(seconds)
    assert launch.poll() is None, "nothing was left to kill"
    launch.send_signal(signal.SIGSTOP)  # so that it starts no other stage
    for stage in psutil.Process(launch.pid).children():
        with contextlib.suppress(ProcessLookupError):  # of the launcher's own group
            os.killpg(stage.pid, signal.SIGKILL)
    _kill_group(launch)
    launch.stdout.close()
    with (repository / ".checkpoints" / "repro.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the last of them is gone


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill DVC and the stage it started, as a power cut would."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
