"""The map on a Dask cluster: a real scheduler and workers, which are killed, too."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import cv2
import distributed
import numpy as np
import pytest

from pipeline.data.packs import encode_map, write_pack
from pipeline.data.prepare import import_coco
from pipeline.engine import cluster as module
from pipeline.engine.cluster import Place
from pipeline.engine.parallel import HERE, map_images
from pipeline.errors import UserError
from pipeline.files import write_json
from pipeline.labels.weak_semantic import write_weak_labels
from pipeline.methods.baselines.rows import apply_baseline
from pipeline.params import CocoFolder, Executor, GrabCut
from pipeline.params.semantic_labels import ScribbleLabels
from tests.engine.dask_cluster import DaskCluster, dask_cluster
from tests.engine.map_work import (
    FileImages,
    die,
    refuse_seven,
    slow_square,
    square,
    square_but_die_once,
    who,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two_workers(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    with dask_cluster(root, tmp_path_factory.mktemp("dask"), workers=2) as cluster:
        yield cluster


def test_results_come_in_order_from_both_workers(
    two_workers: DaskCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    values = list(range(300))
    assert list(map_images(square, values, 1, "doing", two_workers.executor)) == [v * v for v in values]
    assert "doing: 300/300 images" in capsys.readouterr().err
    workers = {process.pid for process in two_workers.processes[1:]}
    assert set(map_images(who, values[:40], 1, "doing", two_workers.executor)) == workers


def test_grabcut_gives_the_same_as_in_processes(two_workers: DaskCluster, tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    names, boxes = [f"{number}.png" for number in range(12)], []
    for number, name in enumerate(names):
        image = noise.integers(0, 60, (40, 50, 3), dtype=np.uint8)
        image[7 + number : 17 + number, 10:25, 0] += 180
        cv2.imwrite(str(tmp_path / name), image)
        boxes.append({"id": number, "image_id": number, "category_id": 1, "bbox": [7, 5 + number, 21, 15]})
    store = FileImages(str(tmp_path), tuple(names))
    row = GrabCut(kind="grabcut", iterations=2, processes=1, title="cut", detections="a", oracle="none")
    here = apply_baseline(row, store, [], {"annotations": boxes})
    assert apply_baseline(row, store, [], {"annotations": boxes}, two_workers.executor) == here
    assert len({str(entry["segmentation"]) for entry in here[1]}) == len(names)


def test_an_import_writes_the_same_as_in_this_process(
    two_workers: DaskCluster, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "data" / "images").mkdir(parents=True)
    rows = []
    for number in range(1, 9):
        image = np.random.default_rng(number).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "data" / "images" / f"{number}.png"), image)
        rows.append({"id": number, "file_name": f"{number}.png", "width": 30, "height": 20})
    (tmp_path / "data" / "images" / "3.png").write_bytes(b"no image")
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 2, 9, 9], "area": 81, "iscrowd": 0}
    coco = {"images": rows, "annotations": [annotation], "categories": [{"id": 1, "name": "thing"}]}
    write_json(tmp_path / "data" / "all.json", coco)
    source = {"json": "data/all.json", "images": "data/images"}
    folder = CocoFolder(
        **{f"{split}_{key}": path for split in ("train", "val") for key, path in source.items()}, processes=1
    )
    for name, executor in (("here", HERE), ("there", two_workers.executor)):
        assert any(
            "3.png" in line for line in import_coco(folder, tmp_path, tmp_path / name, executor)["warnings"]
        )
    written = [path.relative_to(tmp_path / "here") for path in (tmp_path / "here").rglob("*.json")]
    assert len(written) == 5
    for path in written:
        assert (tmp_path / "here" / path).read_bytes() == (tmp_path / "there" / path).read_bytes()


def test_scribbles_are_the_same_as_in_this_process(two_workers: DaskCluster, tmp_path: Path) -> None:
    """Every image has a random generator of its own, which must not depend on who draws."""
    maps = np.zeros((8, 40, 50), dtype=np.uint8)
    for number in range(8):
        maps[number, 5 : 20 + number, 8:30] = 1 + number % 2
    members = [(number, encode_map(values)) for number, values in enumerate(maps)]
    write_pack(tmp_path / "maps", members, {"classes": ["background", "cat", "dog"], "background": True})
    images = [{"id": key, "file_name": f"{key}.jpg", "width": 50, "height": 40} for key in range(8)]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    coco = {"images": images, "annotations": [], "categories": categories}
    row = ScribbleLabels(
        kind="scribbles",
        percent=100.0,
        split="train",
        length=0.5,
        background=1,
        radius=1,
        min_area=6,
        seed=3,
        processes=1,
    )
    for name, executor in (("here", HERE), ("there", two_workers.executor)):
        figures = write_weak_labels(tmp_path / "maps", coco, row, tmp_path / name, executor)
        assert figures["marks"] == 16
    written = sorted(path.relative_to(tmp_path / "here") for path in (tmp_path / "here").rglob("*.*"))
    assert [str(path) for path in written] == ["labels.json", "maps/pack-000.zip", "maps/pack.json"]
    for path in written:
        assert (tmp_path / "here" / path).read_bytes() == (tmp_path / "there" / path).read_bytes()


def test_nothing_to_do_needs_no_cluster() -> None:
    assert list(map_images(square, [], 1, "doing", Executor(address="tcp://127.0.0.1:1"))) == []


def test_a_mistake_comes_back_whole(two_workers: DaskCluster) -> None:
    results = map_images(refuse_seven, range(200), 1, "doing", two_workers.executor)
    with pytest.raises(UserError) as caught:
        list(results)
    assert str(caught.value) == "seven.png: image 7: is a seven; count without it"


def test_who_stops_early_leaves_no_work_behind(two_workers: DaskCluster) -> None:
    results = map_images(slow_square, range(1000), 1, "doing", two_workers.executor)
    assert [next(results), next(results)] == [0, 1]
    results.close()
    with distributed.Client(two_workers.executor.address, set_as_default=False) as client:
        client.submit(square, 2).result(timeout=10)  # behind whatever is left
        assert not any("_work_on" in str(key) for keys in client.processing().values() for key in keys)


def test_a_worker_in_another_folder_is_told(
    two_workers: DaskCluster, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"Dask worker tcp://.*: works in {root}, and not in {tmp_path}"):
        list(map_images(square, [1], 1, "doing", two_workers.executor))


def test_a_worker_with_other_code_is_told(two_workers: DaskCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an edit: the worker goes on with the modules that it has imported."""
    monkeypatch.setattr(module, "code", lambda: "other")
    with pytest.raises(
        UserError, match=r"another version of this project.*; start it again: cd .*dask worker"
    ):
        list(map_images(square, [1], 1, "doing", two_workers.executor))


def test_a_worker_with_threads_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = SimpleNamespace(address="tcp://10.0.0.2:4711", state=SimpleNamespace(nthreads=8))
    monkeypatch.setattr(distributed, "get_worker", lambda: worker)
    monkeypatch.chdir(root)
    with pytest.raises(UserError, match=r"Dask worker tcp://10\.0\.0\.2:4711: has 8 threads.*--nthreads 1"):
        module._work_on(Place(str(root), module.code()), sum, [1, 2])


def test_code_changes_with_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "engine").mkdir()
    monkeypatch.setattr(module, "__file__", str(tmp_path / "engine" / "cluster.py"))
    (tmp_path / "one.py").write_text("a = 1\n")
    before = module.code.__wrapped__()
    assert module.code.__wrapped__() == before
    (tmp_path / "one.py").write_text("a = 2\n")
    assert module.code.__wrapped__() != before


def test_a_killed_worker_loses_nothing(root: Path, tmp_path: Path) -> None:
    values, calls = list(range(150)), tmp_path / "calls"
    calls.mkdir()
    with dask_cluster(root, tmp_path, workers=2) as cluster:
        work = partial(square_but_die_once, calls, 70)
        results = list(map_images(work, values, 1, "doing", cluster.executor))
        ended = [process.poll() for process in cluster.processes]
    assert results == [value * value for value in values]
    assert sorted(ended, key=str) == [-9, None, None]
    assert len((calls / "70").read_text().splitlines()) == 2


def test_a_batch_that_kills_its_workers_is_told(root: Path, tmp_path: Path) -> None:
    told = pytest.raises(UserError, match=r"params\.yaml: executor\.address: .*killed several workers")
    with dask_cluster(root, tmp_path, workers=1, allowed_failures=0) as cluster, told:
        list(map_images(die, [1], 1, "doing", cluster.executor))


def test_a_lost_scheduler_is_told(root: Path, tmp_path: Path) -> None:
    with dask_cluster(root, tmp_path, workers=1) as cluster:
        results = map_images(slow_square, range(100), 1, "doing", cluster.executor)
        assert next(results) == 0
        cluster.processes[0].kill()
        with pytest.raises(UserError, match=r"the scheduler at tcp://127\.0\.0\.1:\d+ is gone; start it"):
            list(results)


def test_a_scheduler_without_workers_is_told(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_WORKER_SECONDS", 0.5)
    told = pytest.raises(UserError, match=r"has no workers; start some in this folder: dask worker tcp:")
    with dask_cluster(root, tmp_path, workers=0) as cluster, told:
        list(map_images(square, [1], 1, "doing", cluster.executor))


def test_an_address_where_nobody_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.5)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(UserError, match=f"executor.address: no scheduler answers at {address}; start"):
            list(map_images(square, [1], 1, "doing", Executor(address=address)))


def test_an_address_without_certificates_is_told() -> None:
    with pytest.raises(
        UserError,
        match=r"executor\.address: tls://.* needs certificates.*; set distributed\.comm\.tls\.ca-file",
    ):
        list(map_images(square, [1], 1, "doing", Executor(address="tls://127.0.0.1:1")))


def test_without_dask_an_address_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask", None)
    with pytest.raises(UserError, match=r"executor\.address: needs dask.*pip install -e '\.\[cluster\]'"):
        list(map_images(square, [1], 1, "doing", Executor(address="tcp://127.0.0.1:8786")))
