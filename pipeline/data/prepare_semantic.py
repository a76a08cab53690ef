"""Importing a dataset with label maps: the prepared/ folder of a benchmark and its semantic/ packs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.data.densepose import PARTS, read_densepose
from pipeline.data.label_codes import VOID
from pipeline.data.map_folder import read_maps
from pipeline.data.prepare import check_path, write_checked
from pipeline.data.scenes import Split
from pipeline.data.voc import CLASSES, read_voc
from pipeline.engine.parallel import HERE
from pipeline.files import replacing_folder
from pipeline.params import Executor
from pipeline.params.semantic_data import DensePoseFolder, MapFolder, VocFolder, VocSbdFolder


def import_voc(
    params: VocFolder | VocSbdFolder, root: Path, out: Path, semantic: Path, executor: Executor = HERE
) -> dict[str, Any]:
    """Check VOC 2012 and write `out`, as `import_coco` does, and the packs `semantic`/{train,val}.

    The images stay where they are.  root: the repository, to which the paths in `params` are relative;
    executor: where images are read.
    Returns the summary.  Raises UserError for unusable input; then nothing is written.
    """
    check_path("import_voc: folder", params.folder)
    if params.extra:
        check_path("import_voc: extra", params.extra)
    extra = root / params.extra if params.extra else None
    lists = {"train": params.train, "val": "val"}
    splits = {
        split: read_voc(root / params.folder, extra, name, params.processes, executor)
        for split, name in lists.items()
    }
    folders = dict.fromkeys(splits, f"{params.folder}/JPEGImages")
    classes = ["background", *CLASSES]
    return write_scenes(splits, folders, classes, True, out, semantic, params.processes, executor)


def import_maps(
    params: MapFolder, root: Path, out: Path, semantic: Path, executor: Executor = HERE
) -> dict[str, Any]:
    """Check a folder of images and label maps; writes the same, with the same arguments and errors."""
    check_path("import_maps: folder", params.folder)
    lists = {"train": params.train_list, "val": params.val_list}
    splits = {}
    for split, name in lists.items():
        check_path(f"import_maps: {split}_list", name)
        splits[split] = read_maps(
            root / params.folder,
            name,
            params.classes,
            params.background,
            params.ignore,
            params.processes,
            executor,
        )
    folders = dict.fromkeys(splits, params.folder)
    classes = list(params.classes)
    background, processes = params.background, params.processes
    return write_scenes(splits, folders, classes, background, out, semantic, processes, executor)


def import_densepose(
    params: DensePoseFolder, root: Path, out: Path, semantic: Path, executor: Executor = HERE
) -> dict[str, Any]:
    """Check DensePose; writes the same, with the same arguments and errors."""
    splits, folders = {}, {}
    for split in ("train", "val"):
        json, images = getattr(params, f"{split}_json"), getattr(params, f"{split}_images")
        check_path(f"import_densepose: {split}_json", json)
        check_path(f"import_densepose: {split}_images", images)
        splits[split] = read_densepose(root / json, root / images, params.processes, executor)
        folders[split] = images
    classes = ["background", *PARTS]
    return write_scenes(splits, folders, classes, True, out, semantic, params.processes, executor)


def write_scenes(
    splits: dict[str, Split],
    folders: dict[str, str],
    classes: list[str],
    background: bool,
    out: Path,
    semantic: Path,
    processes: int,
    executor: Executor = HERE,
) -> dict[str, Any]:
    """Write checked splits; folders: of each split's images, relative to the repository."""
    figures = {split: _figures(content, len(classes)) for split, content in splits.items()}
    about = {"classes": classes, "background": background}
    with replacing_folder(semantic) as temporary:  # as a whole, after all has been read
        for split, content in splits.items():
            content.write_maps(temporary / split, about, processes, executor)
        checked = {split: content.checked for split, content in splits.items()}
        return write_checked(checked, folders, out, {**about, "splits": figures})


def _figures(split: Split, classes: int) -> dict[str, Any]:
    """Per class, pixels and images that have it; and the share of void pixels in all pixels."""
    return {
        "pixels": split.pixels[:classes].tolist(),
        "images_with": split.images[:classes].tolist(),
        "void": float(split.pixels[VOID] / split.pixels.sum()),
    }
