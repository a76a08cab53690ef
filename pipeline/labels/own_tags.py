"""A user's own tags as a label set: one JSON file that says of every image which classes it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.data.images import leaves_folder
from pipeline.data.user_json import read_user_json
from pipeline.data.values import show
from pipeline.errors import UserError
from pipeline.labels.weak_semantic import Given, tags_of, write_label_set
from pipeline.params.semantic_labels import TagFile

Row = dict[str, Any]


def write_own_tags(
    row: TagFile,
    root: Path,
    images: Sequence[Row],
    classes: Sequence[str],
    background: bool,
    folder: Path,
) -> None:
    """Write the label set `folder` of the tags of `images` in the user's file.

    root: the repository; images: records of the training images; classes: names by index.  Raises UserError
    unless the file has an entry for every image, and known classes in it; then `folder` is not changed.
    """
    if problem := leaves_folder(row.path):
        remedy = "link the file into the repository: ln -s /where/it/is data/NAME"
        raise UserError("params.yaml", "path", f"{row.path!r} {problem}", remedy)
    tags = read_tags(root / row.path, images, classes)
    ordered = sorted(images, key=lambda image: int(image["id"]))
    given = ((image, Given(tags[image["id"]])) for image in ordered)
    write_label_set(folder, "tags", {"source": "tag_file"}, list(classes), background, given)


def read_tags(path: Path, images: Sequence[Row], classes: Sequence[str]) -> dict[int, list[int]]:
    """Image id -> its tags in the file: ascending indices of classes without class 0, which is never a tag.

    The file is a JSON object.  Its keys are the `file_name`s of images, or the last parts of these, with or
    without extension; its values are lists of classes, by name or index.  Entries of other images are left
    aside.  Raises UserError for a file that is no such object, has no entry for an image or several, or has
    a class that the dataset does not have.
    """
    content = read_user_json(path)
    if not isinstance(content, dict):
        problem = f"must be an object of image names, and is {show(content)}"
        raise UserError(path, "", problem, 'write it as {"NAME": ["cat"], ...}')
    keys = {image["id"]: _key(path, image["file_name"], content) for image in images}
    if missing := [image["file_name"] for image in images if not keys[image["id"]]]:
        others = f" and {len(missing) - 1} other training images" if len(missing) > 1 else ""
        remedy = "list their classes too, [] for none"
        raise UserError(path, "", f"has no entry for {missing[0]}{others}", remedy)
    index = {name: key for key, name in reversed(list(enumerate(classes)))}
    return {
        image_id: tags_of(_classes(path, key, content[key], index, len(classes)))
        for image_id, key in keys.items()
    }


def _key(path: Path, file_name: str, content: Mapping[str, Any]) -> str:
    """The key of an image, "" without any."""
    name = PurePosixPath(file_name)
    found = [key for key in dict.fromkeys((file_name, name.name, name.stem)) if key in content]
    if len(found) > 1:
        problem = f"are both of the image {file_name}"
        raise UserError(path, " and ".join(map(show, found)), problem, "keep one")
    return found[0] if found else ""


def _classes(path: Path, key: str, given: Any, index: Mapping[str, int], count: int) -> list[int]:
    if not isinstance(given, list):
        problem = f"must be a list of classes, and is {show(given)}"
        raise UserError(path, f"entry {show(key)}", problem, "write [] for none")
    labels = []
    for value in given:
        label = index.get(value) if isinstance(value, str) else value
        if type(label) is not int or not 0 <= label < count:
            problem = f"{show(value)} is no class of the dataset"
            remedy = f"give names or indices up to {count - 1}: {', '.join(index)}"
            raise UserError(path, f"entry {show(key)}", problem, remedy)
        labels.append(label)
    return labels
