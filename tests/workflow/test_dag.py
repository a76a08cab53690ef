"""Supervision can't leak: the committed pipeline is walked, and broken ones are caught."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.errors import UserError
from pipeline.params import Params
from pipeline.params_file import load_params
from pipeline.workflow.dag import (
    Dag,
    Stage,
    dependencies,
    find_leaks,
    mask_files,
    overlap,
    producers,
    read_dag,
)
from tests.workflow.repository import (
    add_sam,
    add_split_list,
    add_splits,
    add_weight_file,
    copy_pipeline,
    import_from,
    train_on,
    with_dep,
)


def test_committed_pipeline_has_no_leak(dag: Dag, params: Params) -> None:
    weak = {run for run, row in params.runs.items() if params.supervision(row.labels) == "boxes"}
    assert weak >= {"boxinst", "boxteacher", "boxteacher_mask_rcnn", "mal", "condinst_mal"}, (
        "without them this test says nothing"
    )
    assert find_leaks(dag, params) == []


def test_a_box_run_sees_one_label_file_and_images_alone(dag: Dag, params: Params) -> None:
    """The files a box-supervised training may open, spelled out."""
    data = f"data/{params.benchmark}"
    for run, row in params.runs.items():
        if params.supervision(row.labels) == "boxes":
            files = {dep for dep in dag[f"train@{run}"].deps if dep.startswith("data/")}
            assert files == {
                f"{data}/prepared/train",
                f"{data}/labels/{row.labels}",
                f"{data}/backbones/{row.backbone}",
            }


@pytest.mark.parametrize(
    "dep",
    [
        "data/demo/prepared/annotations/train.json",
        "data/demo/prepared/annotations",
        "data/demo/prepared",
        "data/demo/labels/masks",
        "data/demo/labels/masks/labels.json",
        "data/demo/labels",
        "data",
    ],
)
@pytest.mark.parametrize(
    "stage", ["train@boxinst", "predict@boxinst", "train@boxteacher", "train@boxteacher_mask_rcnn"]
)
def test_a_direct_leak_is_found(dag: Dag, params: Params, stage: str, dep: str) -> None:
    leaks = find_leaks(with_dep(dag, stage, dep), params)
    assert any(stage.partition("@")[2] in leak and dep in leak for leak in leaks)


@pytest.mark.parametrize(
    "dep", ["data/demo/models/oracle", "data/demo/predictions/oracle", "data/demo/evaluation"]
)
@pytest.mark.parametrize("stage", ["train@boxinst", "train@boxteacher", "train@boxinst_mask_rcnn"])
def test_a_leak_through_another_stage_is_found(dag: Dag, params: Params, stage: str, dep: str) -> None:
    """A model trained on masks, its predictions or its scores would carry masks into a box run."""
    assert find_leaks(with_dep(dag, stage, dep), params)


def test_the_quality_of_a_teachers_masks_is_measured_apart_from_the_training(
    dag: Dag, params: Params
) -> None:
    """The stage reads the masks of train; a training that read what it measured would be found."""
    stage = dag["pseudo_mask_quality@boxteacher"]
    assert {"data/demo/prepared/annotations/train.json", "data/demo/models/boxteacher"} <= set(stage.deps)
    assert not any("annotations" in dep or "reports" in dep for dep in dag["train@boxteacher"].deps)
    leaks = find_leaks(with_dep(dag, "train@boxinst", stage.outs[0]), params)
    assert any("train@boxinst <- pseudo_mask_quality@boxteacher" in leak for leak in leaks)


@pytest.mark.parametrize("dep", ["data/demo/labels/masks", "data/demo/prepared/annotations/train.json"])
@pytest.mark.parametrize("stage", ["pseudo_labels@mal_masks", "train@mal"])
def test_masks_behind_pseudo_labels_are_found(dag: Dag, params: Params, stage: str, dep: str) -> None:
    leaks = find_leaks(with_dep(dag, stage, dep), params)
    assert any(leak.startswith("train@condinst_mal") and stage in leak for leak in leaks)


def test_masks_behind_pseudo_labels_that_no_run_uses_are_found(dag: Dag, params: Params) -> None:
    """The set is a result, too: its file says that it is made from boxes alone."""
    name = "pseudo_labels@mal_masks_unrefined"
    assert "mal_masks_unrefined" not in {row.labels for row in params.runs.values()}
    leaks = find_leaks(with_dep(dag, name, "data/demo/labels/masks"), params)
    assert leaks == [f"{name} can read masks: {name} depends on data/demo/labels/masks"]


def test_backbone_start_from_masks_is_found(dag: Dag, params: Params) -> None:
    assert find_leaks(with_dep(dag, "backbones@shapes_pretrained", "data/demo/labels/masks"), params)


def test_a_weight_file_is_a_dependency(repository: Path) -> None:
    add_weight_file(repository, "data/own.safetensors")
    dag = read_dag(repository)
    assert "data/own.safetensors" in dag["weight_files@own"].deps
    assert dag["weight_files@own"].outs == ("data/demo/backbones/own",)
    assert "weight_files@own" in dependencies(dag)["train@boxinst"]
    assert find_leaks(dag, load_params(repository / "params.yaml")) == []


def test_a_weight_file_that_was_trained_on_masks_is_found(repository: Path) -> None:
    add_weight_file(repository, "data/demo/models/oracle/seed-0/model.safetensors")
    leaks = find_leaks(read_dag(repository), load_params(repository / "params.yaml"))
    assert any("train@boxinst <- weight_files@own <- train@oracle" in leak for leak in leaks)


def test_the_weights_of_sam_are_a_dependency(repository: Path) -> None:
    add_sam(repository, "data/weights/sam")
    dag = read_dag(repository)
    assert "data/weights/sam" in dag["sam@prompted"].deps
    assert "sam@prompted" in dependencies(dag)["evaluate_sam@prompted"]
    before = dependencies(dag)
    assert "evaluate_sam@prompted" in before["compare@demo"]
    assert "sam@prompted" in before["report@demo"]


@pytest.fixture(scope="module")
def partly_labelled(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Dag, Params]:
    """The demo with Mask R-CNN on 4 % and CondInst on a list; the full masks and 10 % are other files."""
    folder = copy_pipeline(root, tmp_path_factory.mktemp("partly"))
    add_splits(folder, masks_10=10.0)
    add_split_list(folder, "masks_listed", "data/list.txt")
    train_on(folder, "mask_rcnn", "masks", "masks_4")
    train_on(folder, "oracle", "masks", "masks_listed")
    return read_dag(folder), load_params(folder / "params.yaml")


def test_a_run_on_a_part_of_the_masks_sees_that_part(partly_labelled: tuple[Dag, Params]) -> None:
    dag, params = partly_labelled
    assert find_leaks(dag, params) == []
    data = "data/demo"
    assert {dep for dep in dag["train@mask_rcnn"].deps if dep.startswith("data/")} == {
        f"{data}/prepared/train",
        f"{data}/labels/masks_4",
        f"{data}/backbones/shapes_pretrained",
    }
    assert "data/list.txt" in dag["split_lists@masks_listed"].deps
    before = dependencies(dag)
    assert before["train@mask_rcnn"] == {"generate@shapes", "splits@masks_4", "backbones@shapes_pretrained"}
    assert {"splits@masks_10", "split_lists@masks_listed"} <= before["report@demo"]
    assert {f"{data}/labels/masks_4", f"{data}/labels/masks_listed"} <= mask_files(params)
    for path in mask_files(params):
        assert list(producers(dag, path)), path


def with_training(dag: Dag, name: str, labels: str) -> Dag:
    """One more training, on data/demo/labels/LABELS, whose model is data/demo/models/NAME."""
    stage = Stage(f"train@{name}", (f"data/demo/labels/{labels}",), (f"data/demo/models/{name}",))
    return {**dag, stage.name: stage}


@pytest.mark.parametrize(
    "dep",
    [
        "data/demo/prepared/annotations/train.json",
        "data/demo/prepared/annotations/val.json",
        "data/demo/labels",
        "data/demo/labels/masks",
        "data/demo/labels/masks_10/labels.json",
        "data/demo/predictions/oracle",
        "data/demo/models/full",
    ],
)
@pytest.mark.parametrize("stage", ["train@mask_rcnn", "predict@mask_rcnn"])
def test_masks_beyond_the_labelled_part_are_found(
    partly_labelled: tuple[Dag, Params], stage: str, dep: str
) -> None:
    dag, params = partly_labelled
    leaks = find_leaks(with_dep(with_training(dag, "full", "masks"), stage, dep), params)
    assert any(leak.startswith(stage) for leak in leaks)


@pytest.mark.parametrize(("labels", "leaks"), [("masks_4", False), ("masks_10", True), ("masks", True)])
def test_a_teacher_may_have_seen_the_same_masks_alone(
    partly_labelled: tuple[Dag, Params], labels: str, leaks: bool
) -> None:
    dag, params = partly_labelled
    taught = with_dep(with_training(dag, "teacher", labels), "train@mask_rcnn", "data/demo/models/teacher")
    assert bool(find_leaks(taught, params)) is leaks


def test_a_guided_run_sees_its_labels_and_its_teacher(dag: Dag, params: Params) -> None:
    data = "data/demo"
    assert params.distilled["guided_4"].teacher == "mask2former_4"
    assert {dep for dep in dag["train_distilled@guided_4"].deps if dep.startswith("data/")} == {
        f"{data}/prepared/train",
        f"{data}/labels/masks_4",
        f"{data}/backbones/shapes_pretrained",
        f"{data}/models/mask2former_4",
    }
    before = dependencies(dag)
    assert "train@mask2former_4" in before["train_distilled@guided_4"]
    assert before["predict_distilled@guided_4"] >= {"train_distilled@guided_4", "labels@val_boxes"}
    assert before["evaluate_distilled@guided_4"] == {"generate@shapes", "predict_distilled@guided_4"}
    assert {"evaluate_distilled@guided_4", "evaluate@mean_teacher_4"} <= before["compare@demo"]
    assert "train_distilled@guided_4" in before["report@demo"]


@pytest.mark.parametrize(
    "dep",
    [
        "data/demo/labels/masks",
        "data/demo/prepared/annotations/train.json",
        "data/demo/models/mask2former",  # trained on all of the masks
        "data/demo/models/mask_rcnn",
        "data/demo/predictions/oracle",
    ],
)
@pytest.mark.parametrize(
    "stage", ["train_distilled@guided_4", "predict_distilled@guided_4", "train@mask2former_4"]
)
def test_masks_beyond_those_of_a_guided_run_are_found(dag: Dag, params: Params, stage: str, dep: str) -> None:
    leaks = find_leaks(with_dep(dag, stage, dep), params)
    assert any(leak.startswith(stage) for leak in leaks)


@pytest.mark.parametrize(("labels", "refused"), [("masks_4", False), ("masks", True)])
def test_a_guided_run_with_a_teacher_on_all_masks_is_refused_twice(
    root: Path, tmp_path: Path, labels: str, refused: bool
) -> None:
    """By the check of params.yaml, and by the walk where that check is not asked."""
    folder = copy_pipeline(root, tmp_path)
    sound = load_params(folder / "params.yaml")
    train_on(folder, "mask2former_4", "masks_4", labels)
    leaks = find_leaks(read_dag(folder), sound)
    assert bool(leaks) is refused
    if refused:
        way = "train_distilled@guided_4 <- train@mask2former_4 depends on data/demo/labels/masks"
        assert f"train_distilled@guided_4 can read masks: {way}" in leaks
        with pytest.raises(UserError, match="has the labels masks, and this row masks_4"):
            load_params(folder / "params.yaml")
    else:
        load_params(folder / "params.yaml")


@pytest.mark.parametrize("labels", ["masks_4", "masks_listed"])
@pytest.mark.parametrize("stage", ["train@boxinst", "pseudo_labels@mal_masks"])
def test_a_part_of_the_masks_is_a_leak_for_boxes(
    partly_labelled: tuple[Dag, Params], stage: str, labels: str
) -> None:
    dag, params = partly_labelled
    assert find_leaks(with_dep(dag, stage, f"data/demo/labels/{labels}/labels.json"), params)


@pytest.mark.parametrize("part", ["data/streets", "data/streets/gtFine", "data/streets/gtFine/train"])
def test_masks_in_a_folder_of_cityscapes_are_found(repository: Path, part: str) -> None:
    import_from(repository, "import_cityscapes", "{folder: data/streets, processes: 1}")
    dag, params = read_dag(repository), load_params(repository / "params.yaml")
    assert find_leaks(dag, params) == []
    assert dependencies(dag)["labels@boxes"] == {"import_cityscapes@mine"}
    assert any(part in leak for leak in find_leaks(with_dep(dag, "train@boxinst", part), params))


def test_masks_are_where_the_test_looks(dag: Dag, params: Params) -> None:
    """Files named as holding masks are outputs of stages: a renamed path can't hide from the walk."""
    for path in mask_files(params):
        assert list(producers(dag, path)), path


def test_no_result_depends_on_where_it_is_calculated(root: Path) -> None:
    """The report depends on all of params.yaml, and takes seconds; nothing else may run again."""
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for stage in stages.values():
        for key in stage.get("do", stage).get("params", []):
            assert isinstance(key, dict) or not key.startswith("executor"), key


@pytest.mark.parametrize(
    "stage",
    [
        *("baseline", "import_coco", "import_cityscapes", "import_voc", "import_maps", "import_densepose"),
        *("paint", "weak_labels", "own_labels", "segments", "refined_cams", "cam_labels"),
        *("grown_labels", "score_labels", "spread", "predict_semantic"),
    ],
)
def test_stages_of_images_pass_the_executor(root: Path, stage: str) -> None:
    assert "params.executor" in (root / "stages" / f"{stage}.py").read_text(encoding="utf-8")


def test_order_of_stages(dag: Dag) -> None:
    before = dependencies(dag)
    assert before["check"] == set()
    assert before["generate@shapes"] == {"check"}
    assert before["labels@boxes"] == {"generate@shapes"}
    assert before["train@boxinst"] == {"generate@shapes", "labels@boxes", "backbones@shapes_pretrained"}
    assert {"predict@boxinst", "labels@val_boxes"} <= before["baseline@grabcut"]
    assert {"evaluate@oracle", "evaluate_baseline@fill"} <= before["compare@demo"]
    assert {"compare@demo", "train@oracle", "evaluate_pseudo_labels@mal_masks"} <= before["report@demo"]
    assert before["pseudo_labels@mal_masks"] == {"generate@shapes", "labels@boxes", "train@mal"}
    assert "pseudo_labels@mal_masks" in before["train@condinst_mal"]


def test_every_command_and_code_dependency_exists(root: Path, dag: Dag) -> None:
    outputs = {out for stage in dag.values() for out in stage.outs}
    for stage in dag.values():
        for dep in stage.deps:
            assert any(overlap(dep, out) for out in outputs) or (root / dep).exists(), (stage.name, dep)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/b/c", "a/b", True),
        ("a", "a/b", True),
        ("a/bc", "a/b", False),
        ("a", "b", False),
    ],
)
def test_overlap(a: str, b: str, expected: bool) -> None:
    assert overlap(a, b) is expected
