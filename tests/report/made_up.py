"""A benchmark's report data with made-up figures: an oracle, box runs, a labeler, two baselines.

`make_split_data` has another model's rows on a part of the masks.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
from scipy.ndimage import gaussian_filter

from pipeline.report.data import (
    Curve,
    DataSummary,
    Difference,
    Interval,
    PseudoLabelSet,
    Rank,
    ReportData,
    Row,
    Scene,
    Separation,
    Shape,
)

CLASSES = ("ellipse", "polygon", "star", "L")
ROWS = {  # name: title, kind, supervision, seeds, AP
    "oracle": ("CondInst, masks", "run", "masks", (0, 1, 2), 50.8),
    "boxinst": ("BoxInst", "run", "boxes", (0, 1, 2), 46.1),
    "projection": ("BoxInst, projection term alone", "run", "boxes", (0,), 36.1),
    "mal": ("MAL labeler", "run", "boxes", (0,), None),
    "on_mal": ("CondInst on MAL masks", "run", "boxes", (0, 1, 2), 44.2),
    "fill": ("Filled boxes of BoxInst", "baseline", "boxes", (0, 1, 2), 6.9),
    "grabcut": ("GrabCut in the boxes of BoxInst", "baseline", "boxes", (0, 1, 2), 34.6),
}
TERMS = {
    "oracle": ("loss_mask",),
    "boxinst": ("loss_projection", "loss_pairwise"),
    "projection": ("loss_projection",),
    "mal": ("loss_mil", "loss_crf"),
    "on_mal": ("loss_mask",),
}
METHODS = {
    "oracle": "supervised",
    "boxinst": "boxinst",
    "projection": "boxinst",
    "mal": "mal",
    "on_mal": "supervised",
}


def make_labeler() -> Row:
    """The row without AP, whose headline is mask IoU."""
    title, _, supervision, seeds, _ = ROWS["mal"]
    return Row(
        name="mal",
        title=title,
        kind="run",
        task="masks_in_boxes",
        method="mal",
        model="autolabeler_small",
        supervision=supervision,
        labels=supervision,
        oracle="none",
        seeds=seeds,
        metrics={"mask_iou": 83.1},
        headline="mask_iou",
        seed_scores={0: 83.1},
        interval=Interval(82.2, 83.9),
        mask_iou_interval=Interval(82.2, 83.9),
        per_category=dict(zip(CLASSES, (91.0, 85.5, 70.25, 80.0), strict=True)),
        not_computed=("AP: the run gives masks to given boxes and detects nothing",),
        separation=Separation(0.5067, {0: 0.5067}, boxes=711, without_mask=0, one_sided=4),
        labelled_fraction=1.0,
        labelled_images=1500,
        labelled_objects=5346,
        train_images=5346,
        params_million=0.41,
        settings={
            "run": {"title": title, "labels": supervision, "seeds": seeds},
            "model": {"architecture": "autolabeler", "backbone": "small"},
            "method": {
                "kind": "mal",
                "mil_weight": 4.0,
                "train": {"duration": "steps", "steps": 1200, "batch_size": 32},
            },
        },
        environment={"torch": "2.15.0", "device": "cpu", "threads": 1},
    )


def make_row(name: str) -> Row:
    """One of ROWS with all its figures derived from its AP."""
    if name == "mal":
        return make_labeler()
    title, kind, supervision, seeds, ap = ROWS[name]
    trained = kind == "run"
    labels = "mal_masks" if name == "on_mal" else supervision
    metrics: dict[str, float | None] = {
        "AP": ap,
        "AP50": ap * 1.52,
        "AP75": ap * 1.1,
        "APs": ap * 0.88,
        "APm": ap * 1.08,
        "APl": None,
        "boundary_AP": ap * 0.71,
        "box_AP": 52.3 if trained else 47.9,
        "mask_iou": 60 + ap * 0.37,
    }
    settings = {"run": {"title": title, "labels": labels, "seeds": seeds}}
    if trained:
        settings |= {
            "model": {
                "architecture": "condinst",
                "backbone": "small",
                "fpn_channels": 48,
                "fpn_strides": (8, 16),
            },
            "method": {
                "kind": METHODS[name],
                "pairwise_weight": 0.0 if name == "projection" else 1.0,
                "train": {"duration": "steps", "steps": 1200, "batch_size": 8},
                "augmentation": {"short_sides": (96,)},
            },
        }
    return Row(
        name=name,
        title=title,
        kind="run" if trained else "baseline",
        task="instances",
        method=METHODS.get(name, name),
        model="condinst_small" if trained else "",
        supervision=supervision,
        labels=labels if trained else "",
        through="mal" if name == "on_mal" else "",
        oracle="oracle",
        seeds=seeds,
        metrics=metrics,
        seed_scores={seed: ap + (seed - 1) * 0.9 if len(seeds) > 1 else ap for seed in seeds},
        interval=Interval(ap - 3.4, ap + 3.1),
        mask_iou_interval=Interval(58.9 + ap * 0.37, 61.2 + ap * 0.37),
        retention=100 * ap / 50.8,
        retention_interval=None
        if name == "oracle"
        else Interval(100 * ap / 50.8 - 5.8, 100 * ap / 50.8 + 5.2),
        per_category={
            label: ap * factor for label, factor in zip(CLASSES, (1.2, 0.95, 0.9, 0.95), strict=True)
        },
        labelled_fraction=1.0 if trained else None,
        labelled_images=1500 if trained else None,
        labelled_objects=5346 if trained else None,
        train_images=1500 if trained else None,
        params_million=0.713 if trained else None,
        settings=settings,
        environment={"torch": "2.15.0", "device": "cpu", "threads": 1} if trained else {},
    )


SPLIT_ROWS = {  # name: title, method, percent, AP; the first is the oracle
    "full": ("Mask2Former, masks", "supervised", 100.0, 45.2),
    "few_1": ("Mask2Former, 1 % of the masks", "supervised", 1.0, 9.4),
    "few_4": ("Mask2Former, 4 % of the masks", "supervised", 4.0, 21.7),
    "few_10": ("Mask2Former, 10 % of the masks", "supervised", 10.0, 30.5),
    "mean_teacher_4": ("Mean teacher, 4 % of the masks", "mean_teacher", 4.0, 24.0),
    "guided_1": ("Guided Distillation, 1 % of the masks", "guided_distillation", 1.0, 16.1),
    "guided_4": ("Guided Distillation, 4 % of the masks", "guided_distillation", 4.0, 31.9),
    "guided_10": ("Guided Distillation, 10 % of the masks", "guided_distillation", 10.0, 37.8),
}


def make_split_row(name: str) -> Row:
    """One of SPLIT_ROWS with what the report shows of it."""
    title, method, percent, ap = SPLIT_ROWS[name]
    few, images, taught = percent < 100, round(15 * percent), method != "supervised"
    labels = f"masks_{percent:g}" if few else "masks"
    settings = {
        "run": {"title": title, "settings": method, "labels": labels, "backbone": "start"},
        "model": {"architecture": "mask2former", "backbone": "small"},
        "method": {"kind": method, "train": {"duration": "steps", "steps": 100 * images, "batch_size": 4}},
    }
    if few:
        settings["split"] = {"percent": percent, "rule": "stratified", "seed": 0, "pool": "all"}
    return Row(
        name=name,
        title=title,
        kind="run",
        task="instances",
        method=method,
        model="mask2former_small",
        supervision="masks",
        labels=labels,
        oracle="full",
        seeds=(0,),
        metrics={"AP": ap, "mask_iou": 60 + ap * 0.37},
        seed_scores={0: ap},
        interval=Interval(ap - 2.9, ap + 3.2),
        retention=100 * ap / 45.2,
        retention_interval=Interval(100 * ap / 45.2 - 5, 100 * ap / 45.2 + 5) if few else None,
        labelled_fraction=percent / 100,
        labelled_images=images,
        labelled_objects=round(53.46 * percent),
        train_images=images,
        unlabelled_images=1500 if taught else None,
        network="student" if taught else "",
        params_million=1.2,
        settings=settings,
        environment={"torch": "2.15.0"},
    )


def make_split_data() -> ReportData:
    """`make_data` without a gallery, and another model's rows on all masks and on 1, 4 and 10 % of them."""
    data, rows = make_data(scenes=0), tuple(make_split_row(name) for name in SPLIT_ROWS)
    more = []
    for first, second in combinations((*data.rows, *rows), 2):
        if second in rows and first.score and first.headline == "AP":
            points = first.metrics["AP"] - second.metrics["AP"]
            limits = Interval(points - 3.2, points + 2.9)
            more.append(Difference(first.name, second.name, points, limits, abs(points) < 3))
    return replace(data, rows=(*data.rows, *rows), differences=(*data.differences, *more))


def make_curves(name: str) -> tuple[Curve, ...]:
    """Falling, noisy losses of every seed, 60 logged steps."""
    steps = np.arange(20.0, 1201.0, 20.0)
    curves = []
    for seed in ROWS[name][3]:
        generator = np.random.default_rng((len(name), seed))
        terms = {}
        detection = () if name == "mal" else ("loss_class", "loss_box")
        for index, term in enumerate((*detection, *TERMS[name])):
            level = 0.15 + 0.1 * index + np.exp(-steps / (150 + 90 * index)) * (1 + 0.4 * index)
            terms[term] = level * np.exp(generator.normal(0, 0.07, len(steps)))
        rate = 0.002 * (1 + np.cos(np.pi * steps / 1200)) / 2
        curves.append(
            Curve(seed, steps, {"loss": np.sum(list(terms.values()), axis=0), **terms, "learning_rate": rate})
        )
    return tuple(curves)


def make_scene(image_id: int, rank: Rank, size: int = 96) -> Scene:
    """A textured image with blobs, and predictions whose outlines are off by a row's own amount."""
    generator = np.random.default_rng(image_id)
    image = generator.normal(90 + 20 * generator.random(3), 14, (size, size, 3))
    fields = [gaussian_filter(generator.normal(size=(size, size)), size / 12) for _ in range(3)]
    rows, columns = np.mgrid[:size, :size]
    truth, predictions = [], {name: [] for name in ROWS}
    for index, field in enumerate(fields):
        y, x = size * (0.28 + 0.24 * index), size * generator.uniform(0.25, 0.75)
        radius = size * generator.uniform(0.12, 0.2)
        distance = np.hypot(rows - y, columns - x) / radius + field * 6 * size / 96
        label = CLASSES[int(generator.integers(4))]
        image[distance < 1] = generator.uniform(60, 240, 3) + generator.normal(
            0, 14, ((distance < 1).sum(), 3)
        )
        truth.append(make_shape(label, distance < 1))
        for name in ROWS:
            ap = strength(name)
            if rank == "worst" and index == 1 and ap < 40:
                continue
            found = distance < 1 + generator.normal(0, (60 - ap) / 110)
            if name == "fill":
                box = make_shape(label, distance < 1).box
                found = (
                    (columns >= box[0])
                    & (columns < box[0] + box[2])
                    & (rows >= box[1])
                    & (rows < box[1] + box[3])
                )
            score = None if name == "mal" else 0.9 - 0.1 * index
            predictions[name].append(make_shape(label, found, score))
    quality = {"best": 88.0, "median": 71.5, "worst": 22.25, "sample": 60.0}[rank]
    return Scene(
        image_id,
        f"{image_id:06d}.png",
        rank,
        image.clip(0, 255).astype(np.uint8),
        tuple(truth),
        {name: tuple(shapes) for name, shapes in predictions.items()},
        {name: quality * strength(name) / 56 for name in ROWS},
    )


def make_training_scene(image_id: int) -> Scene:
    """A training image with boxes, and the masks that the labeler gave to them."""
    scene = make_scene(image_id, "sample")
    boxes = tuple(replace(shape, mask=None) for shape in scene.truth)
    return replace(scene, truth=boxes, predictions={"mal_masks": scene.predictions["mal"]}, quality={})


def strength(name: str) -> float:
    """How good a row's masks are: its AP, and more for the labeler."""
    return ROWS[name][4] or 55.0


def make_shape(label: str, mask: np.ndarray, score: float | None = None) -> Shape:
    """A shape with the tight box of its mask."""
    y, x = np.nonzero(mask)
    if not len(x):
        return Shape(label, (0, 0, 0, 0), mask, score)
    box = (float(x.min()), float(y.min()), float(np.ptp(x) + 1), float(np.ptp(y) + 1))
    return Shape(label, box, mask, score)


def make_differences(figure: str, least: float) -> tuple[Difference, ...]:
    """All pairs of rows that have `figure`; those below `least` points are within the noise."""
    values = {name: make_row(name).metrics.get(figure) for name in ROWS}
    made = []
    for first, second in combinations([name for name in ROWS if values[name] is not None], 2):
        points = values[first] - values[second]
        interval = Interval(points - least - 0.2, points + least + 0.3)
        made.append(Difference(first, second, points, interval, abs(points) < least))
    return tuple(made)


def make_pseudo_labels() -> PseudoLabelSet:
    """The masks that the labeler gave to the training boxes."""
    return PseudoLabelSet(
        name="mal_masks",
        labeler="mal",
        seed=0,
        boxes="boxes",
        objects=5346,
        missing=12,
        empty=3,
        compared=5334,
        figures={
            "mask_iou": 82.4,
            "small": 78.1,
            "medium": 84.9,
            "large": None,
            "half": 97.3,
            "class_mean": 82.0,
        },
        intervals={"mask_iou": Interval(82.1, 82.7), "half": Interval(96.9, 97.7)},
        not_computed=(),
        labeling={"network": "student", "flip": True, "thresholds": (0.5, 0.5, 0.5), "refine": "none"},
    )


def make_data(scenes: int = 2) -> ReportData:
    """The whole fixture: 7 rows, 3 seeds of some, curves, `scenes` gallery images of each rank."""
    ranks: list[Rank] = ["best", "median", "worst"]
    return ReportData(
        benchmark="demo",
        title="Weakly supervised instance segmentation, demo",
        rows=tuple(make_row(name) for name in ROWS),
        differences=make_differences("AP", 3),
        mask_iou_differences=make_differences("mask_iou", 1),
        pseudo_labels=(make_pseudo_labels(),),
        curves={name: make_curves(name) for name in TERMS},
        scenes=tuple(
            make_scene(10 * index + step, rank)
            for index, rank in enumerate(ranks)
            for step in range(1, 1 + scenes)
        ),
        summary=DataSummary(
            {"kind": "shapes", "size": 96},
            {
                "train": {"images": "1,500", "annotations": "5,346", "crowds": "0", "median_size": "96 × 96"},
                "val": {"images": "200", "annotations": "715", "crowds": "0", "median_size": "96 × 96"},
            },
            {label: {"train": 1336 + index, "val": 180 - index} for index, label in enumerate(CLASSES)},
            ("3 train images have no object",),
        ),
        training_scenes=tuple(make_training_scene(100 + step) for step in range(scenes)),
        ranked_by="oracle" if scenes else "",
        stand_ins=tuple(TERMS),
    )
