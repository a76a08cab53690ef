"""params.yaml: every mistake is one line that names the key, the value and what is allowed."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import params_file
from pipeline.errors import UserError
from pipeline.params import Detectron2
from pipeline.params_file import load_params
from tests.workflow.repository import edited


def test_params_yaml_is_the_demo_preset(root: Path) -> None:
    assert (root / "params.yaml").read_bytes() == (root / "presets" / "demo.yaml").read_bytes()


def test_every_preset_is_valid_and_names_of_benchmarks_and_runs_are_unique(root: Path) -> None:
    names: dict[str, str] = {}
    for preset in sorted((root / "presets").glob("*.yaml")):
        params = load_params(preset)
        rows = (params.trained, params.untrained, params.pseudo_labels, params.embeddings)
        for name in (params.benchmark, *chain(*rows, params.semantic_trained, params.spread)):
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


def test_voc_goes_without_scribbles_and_weights_as_the_preset_says(root: Path, tmp_path: Path) -> None:
    text = (root / "presets" / "voc.yaml").read_text(encoding="utf-8")
    for table, following in (("own_scribbles", "own_maps"), ("file_segments", "# Class activation")):
        rows = text[text.index(f"\n{table}:\n") : text.index(f"\n{following}")]
        text = text.replace(rows, f"\n{table}: {{}}\n")
    text = re.sub(r"^#(?=  )", "", text, flags=re.MULTILINE).replace("\nsegments: {}\n", "\nsegments:\n")
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    before, after = load_params(root / "presets" / "voc.yaml"), load_params(path)
    assert before.own_scribbles.keys() == after.weak_labels.keys() - before.weak_labels.keys()
    assert (after.segments.keys(), after.own_scribbles) == (before.file_segments.keys(), {})
    assert after.embeddings == before.embeddings


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
        (
            "oracle: oracle",
            "oracle: mask2former",
            ["runs.oracle.oracle", "mask2former_small", "compares equal models"],
        ),
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
        ("deformable_stages: []", "deformable_stages: [6]", ["condinst_small.deformable_stages", "6"]),
        ("deformable_stages: []", "deformable_stages: [5]", ["condinst_small: ", "deformable_stages []"]),
        ("stride_in_1x1: false", "stride_in_1x1: true", ["condinst_small: stride_in_1x1 must be false"]),
        (
            "frozen_stages: 0\n    frozen_batchnorm: false\n    drop_path: 0.0\n    stride_in_1x1: false\n"
            "    deformable_stages: []",
            "frozen_stages: 3\n    frozen_batchnorm: false\n    drop_path: 0.0\n    stride_in_1x1: false\n"
            "    deformable_stages: [3]",
            ["condinst_small: deformable_stages must come after frozen_stages"],
        ),
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
        (
            "pseudo_mask_quality: [boxteacher]",
            "pseudo_mask_quality: [boxinst]",
            ["pseudo_mask_quality", "of boxinst is boxinst", "only box_teacher keeps"],
        ),
        (
            "pseudo_mask_quality: [boxteacher]",
            "pseudo_mask_quality: [boxteacher, boxteacher]",
            ["pseudo_mask_quality names a run twice"],
        ),
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
        (
            'address: ""',
            'address: "127.0.0.1:8786"',
            ["executor.address", "must be tcp://HOST:PORT or tls://"],
        ),
        ('address: ""', 'address: "http://localhost:8786"', ["executor.address", "must be tcp://HOST:PORT"]),
        ('address: ""', 'address: "tcp://localhost"', ["executor.address", "must be tcp://HOST:PORT"]),
        ('address: ""', 'address: "tcp://localhost:0"', ["executor.address", "must be tcp://HOST:PORT"]),
        ('address: ""', "address: 8786", ["executor.address: 8786"]),
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
            "methods.boxinst.kind: 'boxinst2' is not allowed: it must be one of supervised, boxinst,"
            " box_teacher, mal, mean_teacher, guided_distillation",
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


@pytest.mark.parametrize("address", ["tcp://10.0.0.2:8786", "tls://head-1.cluster:8786", "tcp://[::1]:8786"])
def test_addresses_of_schedulers(root: Path, tmp_path: Path, address: str) -> None:
    params = load_params(edited(root, tmp_path, 'address: ""', f'address: "{address}"'))
    assert params.executor.address == address


def test_params_are_frozen(root: Path) -> None:
    params = load_params(root / "params.yaml")
    with pytest.raises(ValueError):
        params.benchmark = "other"  # type: ignore[misc]


@pytest.mark.parametrize("loader", [params_file._Loader, params_file._FastLoader])
def test_yaml_builds_no_objects(loader: Any) -> None:
    for text in ("!!python/object/apply:os.getcwd []", "!!python/name:os.system ''"):
        with pytest.raises(yaml.constructor.ConstructorError):
            yaml.load(text, Loader=loader)


def test_both_loaders_read_the_same(root: Path) -> None:
    """The one without libyaml is what another machine may have."""
    text = (root / "presets" / "demo.yaml").read_text(encoding="utf-8")
    slow = yaml.load(text, Loader=params_file._Loader)
    assert repr(slow) == repr(params_file.read_yaml(text))
    assert params_file.read_yaml("rate: 1e-4") == {"rate": 0.0001}
