"""The prepared/ folder of a benchmark: image lists, annotations per split and a summary."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.cityscapes import read_cityscapes
from pipeline.data.coco import CheckedCoco, read_coco
from pipeline.data.images import leaves_folder, write_folder_store
from pipeline.data.masks import MEDIUM_AREA, SMALL_AREA
from pipeline.data.values import show_name
from pipeline.engine.parallel import HERE
from pipeline.errors import UserError
from pipeline.files import write_json
from pipeline.params import CityscapesFolder, CocoFolder, Executor

Coco = dict[str, Any]


def import_coco(params: CocoFolder, root: Path, out: Path, executor: Executor = HERE) -> dict[str, Any]:
    """Check a dataset in COCO format and write `out`: <split>/images.json, annotations, summary.json.

    The images stay where they are.  root: the repository, to which the paths in `params` are relative;
    executor: where images are read.
    Returns the summary.  Raises UserError for unusable input; then nothing is written.
    """
    sources = {"train": (params.train_json, params.train_images), "val": (params.val_json, params.val_images)}
    for split, paths in sources.items():
        for key, path in zip(("json", "images"), paths, strict=True):
            check_path(f"import_coco: {split}_{key}", path)
    checked = {
        split: read_coco(root / json, root / images, params.processes, executor)
        for split, (json, images) in sources.items()
    }
    return write_checked(checked, {split: images for split, (_, images) in sources.items()}, out)


def import_cityscapes(
    params: CityscapesFolder, root: Path, out: Path, executor: Executor = HERE
) -> dict[str, Any]:
    """Check Cityscapes and write the same files as `import_coco`, with the same arguments and errors."""
    check_path("import_cityscapes: folder", params.folder)
    folders = {split: params.images(split) for split in ("train", "val")}
    checked = {
        split: read_cityscapes(root / images, root / params.annotations(split), params.processes, executor)
        for split, images in folders.items()
    }
    return write_checked(checked, folders, out)


def write_checked(
    checked: dict[str, CheckedCoco],
    folders: dict[str, str],
    out: Path,
    semantic: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the prepared folder `out`; folders: of each split's images, relative to the repository.

    semantic: figures of label maps for the summary, of a dataset that has them and need not have instances.
    """
    warnings = [line for split in checked.values() for line in split.warnings]
    warnings += _align_categories(checked) + _leaks(checked)
    warnings += _missing_figures(checked) if semantic is None else []
    summary = _summary({split: content.coco for split, content in checked.items()}, warnings)
    if semantic is not None:
        summary["semantic"] = semantic
    for split, content in checked.items():  # nothing is written before everything has been computed
        write_folder_store(out / split, folders[split], content.images)
        write_split(out, split, content.coco)
    write_json(out / "summary.json", summary)
    return summary


def write_split(out: Path, split: str, coco: Coco) -> None:
    """Write `out`/annotations/<split>.json: a valid COCO dict with compressed RLE masks."""
    write_json(out / "annotations" / f"{split}.json", coco, indent=None)


def write_summary(out: Path, splits: dict[str, Coco], warnings: list[str]) -> dict[str, Any]:
    """Write and return `out`/summary.json: the figures of every split, and the warnings of the import."""
    summary = _summary(splits, warnings)
    write_json(out / "summary.json", summary)
    return summary


def _summary(splits: dict[str, Coco], warnings: list[str]) -> dict[str, Any]:
    return {"splits": {split: summarise(coco) for split, coco in splits.items()}, "warnings": warnings}


def summarise(coco: Coco) -> dict[str, Any]:
    """Counts of one split.  Objects, sizes and categories are of instances, that is, no crowd regions."""
    annotations = coco["annotations"]
    instances = [row for row in annotations if not row["iscrowd"]]
    area = np.array([row["area"] for row in instances], dtype=np.float64)
    per_category = Counter(row["category_id"] for row in instances)
    sides = np.array([[row["width"], row["height"]] for row in coco["images"]])
    return {
        "images": len(coco["images"]),
        "images_without_annotations": len(coco["images"]) - len({row["image_id"] for row in annotations}),
        "annotations": len(annotations),
        "crowds": len(annotations) - len(instances),
        "objects_with_masks": sum("segmentation" in row for row in instances),
        "small": int((area < SMALL_AREA).sum()),
        "medium": int(((area >= SMALL_AREA) & (area < MEDIUM_AREA)).sum()),
        "large": int((area >= MEDIUM_AREA).sum()),
        "median_size": {"width": float(np.median(sides[:, 0])), "height": float(np.median(sides[:, 1]))},
        "categories": [
            {**row, "instances": per_category[row["id"]]}
            for row in sorted(coco["categories"], key=lambda row: int(row["id"]))
        ],
    }


def check_path(key: str, path: str) -> None:
    """Raise UserError for a path in params.yaml that leaves the repository."""
    problem = leaves_folder(path)
    if problem:
        raise UserError(
            "params.yaml",
            key,
            f"{path!r} {problem}",
            "link the data into the repository: ln -s /where/it/is data/NAME",
        )


def _align_categories(checked: dict[str, CheckedCoco]) -> list[str]:
    """Give both splits all categories, so that class numbers agree; say so where the lists differed.

    Raises UserError when one id has two names.
    """
    known: dict[int, dict[str, Any]] = {}
    for split, content in checked.items():
        for row in content.coco["categories"]:
            name = known.setdefault(row["id"], row)["name"]
            if name != row["name"]:
                raise UserError(
                    f"{split} annotations",
                    f"category {row['id']}",
                    f"is {row['name']!r} here and {name!r} in the train annotations",
                    "use one list of categories for both",
                )
    warnings = []
    counts = Counter(row["name"] for row in known.values())
    if repeated := sorted(name for name, count in counts.items() if count > 1):
        warnings.append(
            f"{len(repeated)} category {'names belong' if len(repeated) > 1 else 'name belongs'} to several"
            f" ids, which stay different categories: {', '.join(map(show_name, repeated[:5]))}"
            f"{' and more' if len(repeated) > 5 else ''}"
        )
    for split, content in checked.items():
        own = {row["id"]: row for row in content.coco["categories"]}
        if missing := sorted(known.keys() - own.keys()):
            shown = ", ".join(f"{known[key]['name']} ({key})" for key in missing[:5])
            warnings.append(
                f"{split}: {len(missing)} categories are listed for the other split only and were"
                f" added: {shown}{' and more' if len(missing) > 5 else ''}"
            )
        content.coco["categories"] = [own.get(key, known[key]) for key in sorted(known)]
    return warnings


def _leaks(checked: dict[str, CheckedCoco]) -> list[str]:
    """A warning when files of val are also in train, told by CRC-32 and size, whatever their names."""
    train = {(crc32, record.width, record.height) for record, crc32 in checked["train"].images}
    both = [
        record.file_name
        for record, crc32 in checked["val"].images
        if (crc32, record.width, record.height) in train
    ]
    if not both:
        return []
    return [
        f"val: {len(both)} of {len(checked['val'].images)} images are also in train, which flatters the"
        f" figures: {', '.join(map(show_name, both[:5]))}{' and more' if len(both) > 5 else ''}"
    ]


def _missing_figures(checked: dict[str, CheckedCoco]) -> list[str]:
    """What cannot be trained or computed with what the splits hold."""
    warnings = []
    lost_without_masks = {"train": "only box supervision can be trained", "val": "no mask AP can be computed"}
    for split, lost in lost_without_masks.items():
        annotations = checked[split].coco["annotations"]
        if not annotations:
            warnings.append(f"{split}: there are no annotations")
        elif all(row["iscrowd"] for row in annotations):
            warnings.append(f"{split}: all annotations are crowd regions, so there are no instances")
        elif not any("segmentation" in row for row in annotations):
            warnings.append(f"{split}: there are no masks, so {lost}")
    return warnings
