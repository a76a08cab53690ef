"""params.yaml: every mistake is one line that names the key, the value and what is allowed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.params import AutoLabeler, CrfBaseline, Detectron2, Mal, Split, WeightFile
from pipeline.params_file import load_params
from pipeline.workflow.dag import find_leaks, read_dag
from tests.workflow.repository import add_splits, add_weight_file, copy_pipeline, edit, start_from, train_on


def edited(root: Path, tmp_path: Path, old: str, new: str) -> Path:
    text = (root / "presets" / "demo.yaml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "params.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def test_params_yaml_is_the_demo_preset(root: Path) -> None:
    assert (root / "params.yaml").read_bytes() == (root / "presets" / "demo.yaml").read_bytes()


def test_every_preset_is_valid_and_names_of_benchmarks_and_runs_are_unique(root: Path) -> None:
    names: dict[str, str] = {}
    for preset in sorted((root / "presets").glob("*.yaml")):
        params = load_params(preset)
        for name in (params.benchmark, *params.trained, *params.untrained, *params.pseudo_labels):
            assert name not in names, f"{name} is in {names[name]} and in {preset.name}"
            names[name] = preset.name


def switched_on(text: str) -> str:
    """A preset's text with the rows of `sam` that it has as comments."""
    head, tail = text.split("\nsam: {}\n#", 1)
    rows, rest = tail.split("\n\n", 1)
    return head + "\nsam:\n" + rows.replace("\n#", "\n") + "\n\n" + rest


@pytest.mark.parametrize("preset", ["coco-mal", "lvis-mal"])
def test_sam_can_be_switched_on_as_the_preset_says(root: Path, tmp_path: Path, preset: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(switched_on((root / "presets" / f"{preset}.yaml").read_text(encoding="utf-8")), "utf-8")
    (row,) = load_params(path).sam.values()
    assert row.weights == "data/weights/sam-vit-base"
    assert row.weights in (root / "docs" / "recipes.md").read_text(encoding="utf-8")


def test_networks_of_detectron2_can_be_switched_on_as_the_preset_says(root: Path, tmp_path: Path) -> None:
    text = (root / "presets" / "coco-mal.yaml").read_text(encoding="utf-8")
    rows, sam, rest = text.partition("\n# Segment Anything")
    path = tmp_path / "params.yaml"
    path.write_text(re.sub(r"^#(?=  )", "", rows, flags=re.MULTILINE) + sam + rest, encoding="utf-8")
    before, after = load_params(root / "presets" / "coco-mal.yaml"), load_params(path)
    added = {name: after.models[after.runs[name].model] for name in after.runs.keys() - before.runs.keys()}
    assert {model.architecture for model in added.values()} == {"detectron2"}
    assert {model.config for model in added.values() if isinstance(model, Detectron2)} == {
        "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml",
        "Misc/cascade_mask_rcnn_R_50_FPN_1x.yaml",
    }
    assert {after.runs[name].labels for name in added} == {"masks", "coco_mal_mae_base_masks"}
    assert all(after.runs[after.runs[name].oracle].labels == "masks" for name in added)


def test_no_preset_uses_anchors_or_long_lines(root: Path) -> None:
    """`dvc exp run -S` mistreats anchors and wraps lines over 80 columns."""
    for preset in (root / "presets").glob("*.yaml"):
        text = preset.read_text(encoding="utf-8")
        assert "&" not in text
        assert "<<:" not in text
        assert max(map(len, text.splitlines())) <= 80, preset.name


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "color_threshold: 0.03",
            "colour_threshold: 0.03",
            ["methods.boxinst.colour_threshold", "unknown key"],
        ),
        (
            "color_threshold: 0.03",
            "color_threshold: 1.5",
            ["methods.boxinst.color_threshold", "1.5", "less than"],
        ),
        ("color_threshold: 0.03", "color_threshold: '0.03'", ["methods.boxinst.color_threshold", "'0.03'"]),
        ("    size: 96\n", "", ["generate.shapes.size", "missing"]),
        ("size: 96", "size: 96.5", ["generate.shapes.size", "96.5", "integer"]),
        ("kind: boxinst\n", "kind: boxinst2\n", ["methods.boxinst", "boxinst2", "supervised"]),
        (
            "labels: masks",
            "labels: mask",
            ["runs.oracle.labels", "'mask'", "mal_masks, mal_masks_unrefined, masks, masks_20, masks_4, val"],
        ),
        ("labels: masks", "labels: boxes", ["runs.oracle.labels", "boxes", "supervised trains on masks"]),
        ("oracle: oracle", "oracle: nobody", ["runs.oracle.oracle", "'nobody'"]),
        ("seeds: [0]", "seeds: []", ["runs.oracle.seeds", "at least 1"]),
        ("seeds: [0]", "seeds: [0, 0]", ["runs.oracle.seeds", "twice"]),
        ("backbone: small", "backbone: resnet50", ["runs.oracle.backbone", "resnet50", "small"]),
        ("  boxinst:\n    title", "  box.inst:\n    title", ["runs", "box.inst"]),
        ("detections: boxinst", "detections: box", ["baselines.fill.detections", "'box'"]),
        (
            "kind: fill",
            "kind: fil",
            ["baselines.fill", "'fil'", "ellipse", "two_means", "grabcut"],
        ),
        ("certainty: 0.7", "certainty: 0.5", ["baselines.ellipse_crf.certainty: 0.5", "greater than 0.5"]),
        ("start: ellipse", "start: grabcut", ["baselines.ellipse_crf.start", "fill", "two_means"]),
        ("kind: fill", "kind: fill\n    iterations: 0", ["baselines.fill.iterations: unknown key"]),
        ("iterations: 5", "iterations: 0", ["baselines.grabcut.iterations: 0", "greater than 0"]),
        (
            "sam: {}",
            "sam:\n  prompted: {title: SAM, detections: mal, oracle: none, weights: w, device: auto}",
            ["sam.prompted.detections: mal gives masks"],
        ),
        (
            "sam: {}",
            "sam:\n  prompted: {title: SAM, detections: boxinst, oracle: nobody, weights: w, device: auto}",
            ["sam.prompted.oracle: 'nobody'"],
        ),
        ("sam: {}", "sam:\n  fill: {kind: sam}", ["sam.fill.kind: unknown", "sam.fill.weights: missing"]),
        (
            "sam: {}",
            "sam:\n  fill: {title: SAM, detections: boxinst, oracle: oracle, weights: w, device: auto}",
            ["fill is both in baselines and in sam; rename one"],
        ),
        (
            "weight_files: {}",
            "weight_files:\n  shapes_pretrained: {architecture: small, path: w.pth, content: backbone}",
            ["shapes_pretrained is both in backbones and in weight_files; rename one"],
        ),
        (
            "weight_files: {}",
            "weight_files:\n  own: {architecture: small, content: backbone}",
            ["weight_files.own.path: missing"],
        ),
        (
            "\nsplits:\n",
            "\nsplits:\n  few: {percent: 0, rule: stratified, seed: 0, pool: all}\n",
            ["splits.few.percent: 0", "greater than 0"],
        ),
        (
            "\nsplits:\n",
            "\nsplits:\n  few: {percent: 1, rule: random, seed: 0, pool: others}\n",
            ["splits.few.rule: 'random'", "'stratified' or 'uniform'", "splits.few.pool: 'others'"],
        ),
        (
            "\nsplits:\n",
            "\nsplits:\n  masks: {percent: 1, rule: uniform, seed: 0, pool: rest}\n",
            ["masks is both in labels and in splits; rename one"],
        ),
        (
            "split_lists: {}",
            "split_lists:\n  mal_masks: {path: list.txt, pool: rest}",
            ["mal_masks is both in split_lists and in pseudo_labels; rename one"],
        ),
        ("split_lists: {}", "split_lists:\n  few: {pool: all}", ["split_lists.few.path: missing"]),
        ("import_coco: {}", "import_coco:", ["import_coco: None", "a table; an empty one is {}"]),
        ("seeds: [0]", "seeds: 0", ["runs.oracle.seeds: 0", "must be a list"]),
        ("seeds: [0]", "seeds: [4294967296]", ["runs.oracle.seeds.0: 4294967296", "less than"]),
        ("learning_rate: 0.002", "learning_rate: .inf", ["learning_rate: inf", "finite"]),
        ("learning_rate: 0.002", "learning_rate: .nan", ["learning_rate: nan"]),
        ("title: BoxInst\n", 'title: ""\n', ["runs.boxinst.title: ''", "at least 1 character"]),
        ("benchmark: demo", "benchmark: demo\nbenchmark: demo", ["benchmark", "twice"]),
        (
            "sizes_of_interest: [20, 40]",
            "sizes_of_interest: [20]",
            ["models.condinst_small", "sizes_of_interest"],
        ),
        ("mask_out_stride: 2", "mask_out_stride: 4", ["models.condinst_small", "mask_out_stride"]),
        ("topk_per_image: 8\n    mask", "topk_per_image: -1\n    mask", ["models.condinst_small", "one of"]),
        ("pairwise_size: 3", "pairwise_size: 4", ["methods.boxinst", "pairwise_size must be odd"]),
        ("bottom_pixels_removed: 0", "bottom_pixels_removed: 10", ["methods.boxinst", "vertical_flip"]),
        ("settings: projection_only", "settings: supervised", ["runs.projection.settings", "boxinst"]),
        ("val_boxes: {kind: boxes, split: val}", "val_b: {kind: boxes, split: val}", ["labels.val_boxes"]),
        ("labeler: mal\n", "labeler: boxinst\n", ["pseudo_labels.mal_masks.labeler", "boxinst is instances"]),
        ("labeler: mal\n    seed: 0", "labeler: mal\n    seed: 1", ["pseudo_labels.mal_masks.seed", "not 1"]),
        (
            "seed: 0\n    labels: boxes",
            "seed: 0\n    labels: masks",
            ["pseudo_labels.mal_masks.labels", "masks of train", "boxes of train"],
        ),
        ("  mal_masks:\n", "  masks:\n", ["masks is both in labels and in pseudo_labels"]),
        ("separation: [mal]", "separation: [oracle]", ["separation", "of oracle is instances"]),
        ("separation: [mal]", "separation: [lam]", ["separation: 'lam' is not defined"]),
        ("separation: [mal]", "separation: [mal, mal]", ["separation names a run twice"]),
        ("task: masks_in_boxes", "task: instances", ["runs.mal.task", "mal does not do instances"]),
        (
            "backbone: shapes_pretrained\n    oracle: none",
            "backbone: shapes_pretrained\n    oracle: oracle",
            ["runs.mal.oracle", "retention compares AP", "use none"],
        ),
        ("detections: boxinst", "detections: mal", ["baselines.fill.detections", "detects none"]),
        ("kernel: 3", "kernel: 4", ["methods.mal.mean_field", "kernel must be odd"]),
        ("clamp: [0.1, 0.9]", "clamp: [0.9, 0.1]", ["methods.mal.mean_field", "clamp must rise"]),
        ("expand_min: 0.0", "expand_min: 1.5", ["methods.mal.augmentation", "exceed expand_max"]),
        ("blur_radius: [0.1, 2.0]", "blur_radius: [2.0, 0.1]", ["methods.mal.augmentation", "must rise"]),
        ("crop_size: 64", "crop_size: 72", ["models.autolabeler_small", "a multiple of 16"]),
        ("stem: patch", "stem: conv", ["models.autolabeler_small", "stem must be patch"]),
        ("size_limits: [32.0, 96.0]", "size_limits: [96.0, 32.0]", ["autolabeler_small", "must rise"]),
    ],
)
def test_mistakes_are_one_line_with_key_and_remedy(
    root: Path, tmp_path: Path, old: str, new: str, expected: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        load_params(edited(root, tmp_path, old, new))
    message = str(caught.value)
    assert "\n" not in message
    for part in expected:
        assert part in message, message


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


def test_supervised_trains_either_architecture_and_boxinst_condinst_alone(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    text = (root / "presets" / "demo.yaml").read_text(encoding="utf-8")
    use = "settings: {}\n    model: condinst_small"
    other = "settings: {}\n    model: mask_rcnn_small"
    path.write_text(text.replace(use.format("supervised"), other.format("supervised"), 1), encoding="utf-8")
    assert load_params(path).runs["oracle"].model == "mask_rcnn_small"
    path.write_text(text.replace(use.format("boxinst"), other.format("boxinst"), 1), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_params(path)
    assert str(caught.value).endswith(
        "runs.boxinst.model: the architecture of mask_rcnn_small is mask_rcnn, and boxinst trains condinst"
    )


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[16.0, 32.0, 64.0]", "[16.0, 32.0]", "models.mask_rcnn_small: anchor_sizes needs one entry per"),
        (
            "fpn_strides: [4, 8, 16]",
            "fpn_strides: [4, 8, 32]",
            "mask_rcnn_small: fpn_strides must double",
        ),
        ("fpn_strides: [4, 8, 16]", "fpn_strides: [32, 64, 128]", "the backbone small has maps of"),
        ("roi_batch: 24", "roi_batch: 0", "models.mask_rcnn_small.roi_batch: 0"),
        (
            "architecture: mask_rcnn\n",
            "architecture: mask_cnn\n",
            "architecture: 'mask_cnn' .*mask_rcnn",
        ),
    ],
)
def test_mistakes_in_a_mask_rcnn(root: Path, tmp_path: Path, old: str, new: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        load_params(edited(root, tmp_path, old, new))


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "kind: boxinst\n",
            "kind: boxinst2\n",
            "methods.boxinst.kind: 'boxinst2' is not allowed: it must be one of supervised, boxinst, mal,"
            " mean_teacher, guided_distillation",
        ),
        (
            "architecture: condinst\n",
            "architecture: conddist\n",
            "models.condinst_small.architecture: 'conddist' is not allowed: it must be one of condinst,"
            " mask_rcnn, mask2former, detectron2, autolabeler",
        ),
        ("    kind: fill\n", "", "baselines.fill.kind: missing; every key must be written out"),
        (
            "kind: fill\n",
            "kind: 3\n",
            "baselines.fill.kind: '3' is not allowed: it must be one of"
            " fill, ellipse, two_means, grabcut, crf",
        ),
    ],
)
def test_a_misspelt_kind_is_one_short_line(root: Path, tmp_path: Path, old: str, new: str, line: str) -> None:
    with pytest.raises(UserError) as caught:
        load_params(edited(root, tmp_path, old, new))
    assert str(caught.value).endswith(f"params.yaml: {line}")


def test_several_mistakes_are_all_told(root: Path, tmp_path: Path) -> None:
    path = edited(root, tmp_path, "train: 1500\n    val: 200", "train: 0\n    val: -1")
    with pytest.raises(UserError, match=r"generate\.shapes\.train.*generate\.shapes\.val"):
        load_params(path)


def test_a_refused_entry_is_told_once(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_params(edited(root, tmp_path, "seeds: [0]", "seeds: [-1]"))
    assert str(caught.value).endswith(
        "runs.oracle.seeds.0: -1 is not allowed: input should be greater than or equal to 0"
    )


@pytest.mark.parametrize("text", ["", "- a\n", "runs: [", "\t", "a: *b"])
def test_text_that_is_no_params_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_params(path)
    assert "\n" not in str(caught.value)
    assert "params.yaml" in str(caught.value)


def test_missing_file_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="python -m pipeline use demo"):
        load_params(tmp_path / "params.yaml")


def test_exponents_are_numbers(root: Path, tmp_path: Path) -> None:
    """YAML 1.1 reads 1e-4 as text, YAML 1.2 (DVC) as a number; both must see the same value."""
    params = load_params(
        edited(root, tmp_path, "weight_decay: 0.01\n      norm", "weight_decay: 1e-4\n      norm")
    )
    assert params.methods["supervised"].train.weight_decay == 1e-4


def test_params_are_frozen(root: Path) -> None:
    params = load_params(root / "params.yaml")
    with pytest.raises(ValueError):
        params.benchmark = "other"  # type: ignore[misc]
