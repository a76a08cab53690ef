"""Rows that train: labels, model, start and teacher must fit each other, and hide no masks."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.params import AutoLabeler, CrfBaseline, Mal, Split, WeightFile
from pipeline.params_file import load_params
from pipeline.workflow.dag import find_leaks, read_dag
from tests.workflow.repository import (
    add_splits,
    add_weight_file,
    copy_pipeline,
    edit,
    edited,
    start_from,
    train_on,
)


def test_a_whole_network_is_a_start_of_its_architecture_alone(root: Path, tmp_path: Path) -> None:
    copy_pipeline(root, tmp_path)
    add_weight_file(tmp_path, "w.pth")
    load_params(tmp_path / "params.yaml")
    edit(tmp_path, "path: w.pth, content: backbone", "path: w.pth, content: mask2former")
    message = (
        "runs.boxinst.backbone: own holds a whole mask2former, and the architecture of condinst_small is"
    )
    with pytest.raises(UserError, match=message):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("run", "labels", "accepted"),
    [
        ("mask2former", "masks", True),
        ("mask2former_4", "masks_4", False),
        ("mask2former_mal", "mal_masks", False),
    ],
)
def test_only_a_run_on_all_masks_starts_from_a_network_that_masks_trained(
    root: Path, tmp_path: Path, run: str, labels: str, accepted: bool
) -> None:
    """By the check of params.yaml, and by the walk where that check is not asked."""
    copy_pipeline(root, tmp_path)
    row = "{architecture: small, path: data/whole.pth, content: mask2former}"
    edit(tmp_path, "weight_files: {}", f"weight_files:\n  whole: {row}")
    start_from(tmp_path, run, "whole")
    if accepted:
        params = load_params(tmp_path / "params.yaml")
        assert find_leaks(read_dag(tmp_path), params) == []
        return
    with pytest.raises(UserError, match=rf"runs\.{run}\.backbone: whole .* and {labels} are not those"):
        load_params(tmp_path / "params.yaml")
    sound = load_params(root / "params.yaml")
    start = WeightFile(architecture="small", path="data/whole.pth", content="mask2former")
    unchecked = sound.model_copy(update={"weight_files": {"whole": start}})
    way = f"train@{run} <- weight_files@whole depends on data/whole.pth"
    assert any(leak.endswith(way) for leak in find_leaks(read_dag(tmp_path), unchecked))


@pytest.mark.parametrize(
    ("run", "content", "refusal"),
    [
        ("boxinst", "boxinst", ""),
        ("boxinst", "boxteacher", ""),
        ("oracle", "boxinst", ""),
        ("oracle", "condinst", ""),
        ("boxinst", "condinst", "which masks have trained; only a run on the masks of all images"),
        ("mask_rcnn", "boxteacher", "and the architecture of mask_rcnn_small is mask_rcnn"),
    ],
)
def test_a_network_that_boxes_trained_is_a_start_of_runs_on_boxes(
    root: Path, tmp_path: Path, run: str, content: str, refusal: str
) -> None:
    copy_pipeline(root, tmp_path)
    row = f"{{architecture: small, path: data/whole.pth, content: {content}}}"
    edit(tmp_path, "weight_files: {}", f"weight_files:\n  whole: {row}")
    start_from(tmp_path, run, "whole")
    if refusal:
        with pytest.raises(UserError, match=f"{run}.backbone: whole holds a whole {content}, {refusal}"):
            load_params(tmp_path / "params.yaml")
    else:
        assert find_leaks(read_dag(tmp_path), load_params(tmp_path / "params.yaml")) == []


def test_a_run_on_a_part_of_the_images_starts_from_no_network_that_saw_all_boxes(
    root: Path, tmp_path: Path
) -> None:
    copy_pipeline(root, tmp_path)
    add_splits(tmp_path, few=0.4)
    train_on(tmp_path, "oracle", "masks", "few")
    row = "{architecture: small, path: data/whole.pth, content: boxinst}"
    edit(tmp_path, "weight_files: {}", f"weight_files:\n  whole: {row}")
    start_from(tmp_path, "oracle", "whole")
    with pytest.raises(UserError, match=r"boxes have trained; only a run on labels of all images .* and few"):
        load_params(tmp_path / "params.yaml")


def test_a_teacher_has_the_start_of_its_student(root: Path, tmp_path: Path) -> None:
    copy_pipeline(root, tmp_path)
    edit(tmp_path, "\nbackbones:\n", "\nbackbones:\n  cold: {kind: random, architecture: small}\n")
    start_from(tmp_path, "guided_4", "cold")
    with pytest.raises(UserError, match="has the backbone shapes_pretrained, and this row cold"):
        load_params(tmp_path / "params.yaml")


def test_the_crf_row_refines_as_the_labeler_does(root: Path) -> None:
    params = load_params(root / "params.yaml")
    row, labeling = params.baselines["ellipse_crf"], params.predict.labeling
    labeler = params.runs["mal"]
    model, settings = params.models[labeler.model], params.methods[labeler.settings]
    assert isinstance(row, CrfBaseline)
    assert isinstance(model, AutoLabeler)
    assert isinstance(settings, Mal)
    assert labeling.refine == "dense_crf"
    assert (row.dense_crf, row.crop_size, row.expand) == (
        labeling.dense_crf,
        model.crop_size,
        settings.test_expand,
    )


@pytest.mark.parametrize(("run", "old", "accepted"), [("oracle", "masks", True), ("boxinst", "boxes", False)])
def test_a_part_of_the_masks_is_a_label_set_of_masks(
    root: Path, tmp_path: Path, run: str, old: str, accepted: bool
) -> None:
    copy_pipeline(root, tmp_path)
    add_splits(tmp_path, few=0.4)
    train_on(tmp_path, run, old, "few")
    if accepted:
        params = load_params(tmp_path / "params.yaml")
        assert params.supervision(params.runs[run].labels) == "masks"
        assert params.partial["few"] == Split(percent=0.4, rule="stratified", seed=0, pool="all")
    else:
        with pytest.raises(UserError, match=r"runs\.boxinst\.labels: few holds masks, and boxinst trains on"):
            load_params(tmp_path / "params.yaml")


GUIDED = "guided_distillation\n    model: mask2former_small\n    labels: masks_4"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("burn_in: ", "burn_in: 0  # ", "methods.mean_teacher.burn_in: 0 is not allowed: .*greater than 0"),
        (
            "burn_in: ",
            "burn_in: 1400  # ",
            "methods.mean_teacher: burn_in 1400 must be less than the 1400 steps: until then there is no",
        ),
        ("teacher: mask2former_4", "teacher: nobody", "distilled.guided_4.teacher: 'nobody' is not defined"),
        ("teacher: mask2former_4", "teacher: boxinst", "guided_4.teacher: boxinst is trained by boxinst"),
        ("teacher: mask2former_4", "teacher: guided_4", "guided_4.teacher: 'guided_4' is not defined"),
        ("teacher: mask2former_4", "teacher: mean_teacher_4", "is trained by mean_teacher; name a run of"),
        (
            "teacher: mask2former_4",
            "teacher: mask2former",
            "guided_4.teacher: mask2former has the labels masks, and this row masks_4",
        ),
        ("    teacher: mask2former_4\n", "", "distilled.guided_4.teacher: missing"),
        ("\ndistilled:\n  guided_4:", "\ndistilled:\n  mal:", "mal is both in runs and in distilled"),
        (
            "seeds: [0]\n    teacher",
            "seeds: [0, 3]\n    teacher",
            "guided_4.seeds: the teacher mask2former_4 has no seed 3",
        ),
        (
            GUIDED,
            GUIDED.replace("masks_4", "masks"),
            "guided_4.labels: masks has no list of images without labels, from which guided_distillation",
        ),
        (GUIDED, GUIDED.replace("mask2former", "mask_rcnn"), "guided_4.model: the architecture of mask_rcnn"),
        (
            "settings: mean_teacher",
            "settings: guided_distillation",
            "mean_teacher_4.settings: guided_distillation configures guided_distillation, and the run's",
        ),
        ("repeat_threshold: ", "repeat_threshold: -1.0  # ", "repeat_threshold: -1.0 is not allowed"),
        ("  network: student         #", "  network: pupil #", "predict.network: 'pupil' is not allowed"),
    ],
)
def test_mistakes_in_rows_with_a_teacher(
    root: Path, tmp_path: Path, old: str, new: str, expected: str
) -> None:
    with pytest.raises(UserError, match=expected) as caught:
        load_params(edited(root, tmp_path, old, new))
    assert "\n" not in str(caught.value)


def test_a_teacher_of_another_network_is_refused(root: Path, tmp_path: Path) -> None:
    copy_pipeline(root, tmp_path)
    model = "settings: guided_distillation\n    model: mask2former_small"
    edit(tmp_path, model, model.replace("_small", "_other"))
    text = (tmp_path / "params.yaml").read_text(encoding="utf-8")
    block = text[text.index("  mask2former_small:\n") : text.index("\nmethods:\n")]
    edit(tmp_path, "\nmethods:\n", block.replace("_small:", "_other:") + "\nmethods:\n")
    with pytest.raises(UserError, match="has the model mask2former_small, and this row mask2former_other"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("group_by_aspect: false", "group_by_aspect: true", "must be false"),
        ("ema: 0.0", "ema: 0.9", "must be 0"),
    ],
)
def test_what_does_not_go_with_a_teacher(
    root: Path, tmp_path: Path, key: str, value: str, expected: str
) -> None:
    text = (root / "presets" / "demo.yaml").read_text(encoding="utf-8")
    head, tail = text.split("kind: mean_teacher\n", 1)
    path = tmp_path / "params.yaml"
    path.write_text(head + "kind: mean_teacher\n" + tail.replace(key, value, 1), encoding="utf-8")
    with pytest.raises(UserError, match=rf"methods\.mean_teacher: \w+ {expected}"):
        load_params(path)


def test_rows_of_the_comparison(root: Path, tmp_path: Path) -> None:
    """A teacher has a row of its own where both networks predict, and the run's row where it alone does."""
    for network, teachers in (
        ("student", set()),
        ("teacher", set()),
        ("both", {"mean_teacher_4", "guided_4"}),
    ):
        params = load_params(
            edited(root, tmp_path, "  network: student         #", f"  network: {network} #")
        )
        assert list(params.trained) == [*params.runs, *params.distilled]
        assert set(params.rows) == {*params.trained, *(f"{name}.teacher" for name in teachers)}
        assert all(params.rows[f"{name}.teacher"] == name for name in teachers)
        assert params.network("guided_4") == ("teacher" if network == "teacher" else "student")
    assert params.network("guided_4.teacher") == "teacher"


def test_boxinst_trains_condinst_and_mask_rcnn_alone(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    text = (root / "presets" / "demo.yaml").read_text(encoding="utf-8")
    text = text.replace("oracle: oracle", "oracle: none")  # whose model may not be another
    use, other = "settings: {}\n    model: condinst_small", "settings: {}\n    model: {}_small"
    for name, method in (("oracle", "supervised"), ("boxinst", "boxinst")):
        changed = text.replace(use.format(method), other.format(method, "mask_rcnn"), 1)
        path.write_text(changed, encoding="utf-8")
        assert load_params(path).runs[name].model == "mask_rcnn_small"
    changed = text.replace(use.format("boxinst"), other.format("boxinst", "mask2former"), 1)
    path.write_text(changed, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_params(path)
    assert str(caught.value).endswith(
        "runs.boxinst.model: the architecture of mask2former_small is mask2former,"
        " and boxinst trains condinst, mask_rcnn"
    )
