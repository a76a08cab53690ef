"""Everything that can be found wrong before anything runs is told in one line."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.workflow.check import check
from tests.workflow.repository import (
    add_sam,
    add_semantic,
    add_split_list,
    add_weight_file,
    drop_semantic,
    edit,
    import_from,
)


def use_folder(repository: Path, **changes: str) -> None:
    keys = {
        "train_json": "data/mine/train.json",
        "train_images": "data/mine/images",
        "val_json": "data/mine/train.json",
        "val_images": "data/mine/images",
        **changes,
    }
    folder = ", ".join(f"{key}: {value}" for key, value in keys.items())
    import_from(repository, "import_coco", f"{{{folder}, processes: 1}}")


def test_good_repository(repository: Path) -> None:
    assert check(repository).benchmark == "demo"
    before = (repository / "data" / "demo" / "checked.json").read_bytes()
    edit(repository, "learning_rate: 0.002", "learning_rate: 0.001")
    check(repository)
    assert (repository / "data" / "demo" / "checked.json").read_bytes() == before


def test_unpacked_archive_says_what_to_type(repository: Path) -> None:
    shutil.rmtree(repository / ".git")
    with pytest.raises(UserError, match="git init && git add -A && git commit"):
        check(repository)


def test_missing_dvc_folder(repository: Path) -> None:
    shutil.rmtree(repository / ".dvc")
    with pytest.raises(UserError, match="dvc init"):
        check(repository)


def test_users_folder(repository: Path) -> None:
    (repository / "data" / "mine" / "images").mkdir(parents=True)
    (repository / "data" / "mine" / "train.json").write_text("{}", encoding="utf-8")
    use_folder(repository)
    assert list(check(repository).import_coco) == ["mine"]


def test_a_folder_of_cityscapes(repository: Path) -> None:
    import_from(repository, "import_cityscapes", "{folder: data/streets, processes: 1}")
    for part in ("leftImg8bit/train", "leftImg8bit/val", "gtFine/train"):
        (repository / "data" / "streets" / part).mkdir(parents=True)
    missing = r"import_cityscapes\.mine\.folder: 'data/streets/gtFine/val' does not exist"
    with pytest.raises(UserError, match=missing):
        check(repository)
    (repository / "data" / "streets" / "gtFine" / "val").mkdir()
    check(repository)
    edit(repository, "benchmark: demo", "benchmark: streets")
    with pytest.raises(UserError, match=r"import_cityscapes\.mine\.folder lies in data/streets, where"):
        check(repository)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"train_json": "data/mine/missing.json"}, "import_coco.mine.train_json.*does not exist.*ln -s"),
        ({"train_json": "/etc/passwd"}, "import_coco.mine.train_json.*outside"),
        ({"train_images": "../images"}, "import_coco.mine.train_images.*outside"),
        ({"train_images": "data/mine/train.json"}, "is not a folder"),
        ({"val_json": "data/mine/images"}, "is not a file"),
    ],
)
def test_paths_that_do_not_fit(repository: Path, changes: dict[str, str], expected: str) -> None:
    (repository / "data" / "mine" / "images").mkdir(parents=True)
    (repository / "data" / "mine" / "train.json").write_text("{}", encoding="utf-8")
    use_folder(repository, **changes)
    with pytest.raises(UserError, match=expected):
        check(repository)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("fpn_strides: [8, 16]", "fpn_strides: [128, 256]", "models.condinst_small"),
        (": small", ": resnet5000", "resnet5000"),
    ],
)
def test_networks_that_cannot_be_built(repository: Path, old: str, new: str, expected: str) -> None:
    drop_semantic(repository)  # whose heads fit the small backbone alone
    path = repository / "params.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(UserError, match=expected):
        check(repository)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("map_stride: 4 ", "map_stride: 7 ", "small: has no map of stride 7"),
        (
            "    backbone: small\n    head: pyramid",
            "    backbone: resnet5000\n    head: pspnet",
            "resnet5000",
        ),
    ],
)
def test_networks_of_label_maps_that_cannot_be_built(
    repository: Path, old: str, new: str, expected: str
) -> None:
    path = repository / "params.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=expected):
        check(repository)


def test_a_mask_rcnn_is_built_to_see_that_it_fits(repository: Path) -> None:
    start = "backbones:\n  plain: {kind: random, architecture: resnet18}\n"
    edit(repository, "backbones:\n", start)
    edit(repository, "mask_rcnn\n    backbone: small", "mask_rcnn\n    backbone: resnet18")
    for labels in ("masks", "mal_masks"):
        row = f"model: mask_rcnn_small\n    labels: {labels}\n    backbone: "
        edit(repository, f"{row}shapes_pretrained", f"{row}plain")
    check(repository)
    edit(repository, "fpn_strides: [4, 8, 16]", "fpn_strides: [64, 128, 256]")
    with pytest.raises(UserError, match=r"fpn_strides \[64, 128, 256\]: do not start with strides"):
        check(repository)


def test_weights_of_sam_are_looked_for_before_anything_runs(repository: Path) -> None:
    add_sam(repository, "data/sam")
    with pytest.raises(UserError, match=r"sam\.prompted\.weights: 'data/sam' does not exist"):
        check(repository)
    (repository / "data" / "sam").mkdir(parents=True)
    check(repository)


def test_a_weight_file_is_looked_for_before_anything_runs(repository: Path) -> None:
    add_weight_file(repository, "data/own.safetensors")
    missing = r"weight_files\.own\.path: 'data/own\.safetensors' does not exist.*put it there"
    with pytest.raises(UserError, match=missing) as caught:
        check(repository)
    assert "\n" not in str(caught.value)
    (repository / "data").mkdir()
    (repository / "data" / "own.safetensors").touch()
    check(repository)


def test_a_list_of_images_is_looked_for_before_anything_runs(repository: Path) -> None:
    add_split_list(repository, "listed", "data/list.txt")
    with pytest.raises(UserError, match=r"split_lists\.listed\.path: 'data/list\.txt' does not exist"):
        check(repository)
    (repository / "data").mkdir()
    (repository / "data" / "list.txt").touch()
    check(repository)


def test_labels_of_the_user_are_looked_for_before_anything_runs(repository: Path) -> None:
    add_semantic(repository)
    for key, folder in (
        ("file_segments.drawn.contours.path", "contours"),
        ("own_tags.told.path", "tags.json"),
        ("own_scribbles.drawn.path", "drawn"),
        ("own_maps.mine.path", "mine"),
    ):
        missing = rf"{re.escape(key)}: 'data/{folder}' does not exist.*put it there"
        with pytest.raises(UserError, match=missing) as caught:
            check(repository)
        assert "\n" not in str(caught.value)
        (repository / "data").mkdir(exist_ok=True)
        path = repository / "data" / folder
        path.touch() if path.suffix else path.mkdir()
    check(repository)


@pytest.mark.parametrize(
    ("table", "row", "keys"),
    [
        ("import_voc", "{folder: data/voc, processes: 1}", {"folder": "data/voc"}),
        (
            "import_voc_sbd",
            "{folder: data/voc, extra: data/sbd, processes: 1}",
            {"folder": "data/voc", "extra": "data/sbd"},
        ),
    ],
)
def test_folders_of_voc_are_looked_for_before_anything_runs(
    repository: Path, table: str, row: str, keys: dict[str, str]
) -> None:
    import_from(repository, table, row)
    for key, folder in keys.items():
        missing = rf"{table}\.mine\.{key}: '{folder}' does not exist.*put it there"
        with pytest.raises(UserError, match=missing) as caught:
            check(repository)
        assert "\n" not in str(caught.value)
        (repository / folder).mkdir(parents=True)
    check(repository)


def test_results_may_not_go_into_the_users_folder(repository: Path) -> None:
    (repository / "data" / "mine" / "images").mkdir(parents=True)
    (repository / "data" / "mine" / "train.json").write_text("{}", encoding="utf-8")
    use_folder(repository)
    edit(repository, "benchmark: demo", "benchmark: mine")
    with pytest.raises(UserError, match=r"import_coco\.mine\.train_json lies in data/mine"):
        check(repository)
    assert not (repository / "data" / "mine" / "checked.json").exists()


def test_a_leaking_pipeline_is_refused(repository: Path) -> None:
    path = repository / "dvc.yaml"
    text = path.read_text(encoding="utf-8")
    leak = "        - data/${benchmark}/labels/${item.labels}\n"
    assert leak in text
    path.write_text(
        text.replace(leak, leak + "        - data/${benchmark}/prepared/annotations/train.json\n"),
        encoding="utf-8",
    )
    with pytest.raises(UserError, match="train@boxinst can read masks"):
        check(repository)


def test_broken_pipeline_file(repository: Path) -> None:
    (repository / "dvc.yaml").write_text("stages: [", encoding="utf-8")
    with pytest.raises(UserError, match=r"dvc\.yaml"):
        check(repository)


def test_command_line_ends_with_one_line_and_status_2(repository: Path, root: Path) -> None:
    edit(repository, "benchmark: demo", "benchmark: de/mo")
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "check"],
        cwd=repository,
        text=True,
        capture_output=True,
        env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: params.yaml: benchmark: 'de/mo' is not allowed")
    assert done.stderr.count("\n") == 1
