"""Label files from annotations: what a supervision may see, and nothing more."""

from __future__ import annotations

from typing import Any, Literal

from pipeline.errors import UserError

Kind = Literal["boxes", "masks"]


def make_labels(annotations: dict[str, Any], kind: Kind, source: object = "annotations") -> dict[str, Any]:
    """A COCO dict for supervision by `kind` from a checked COCO dict; `source` names that in messages.

    "boxes": boxes alone, with the box's own area, as a mask's area would give away its shape.  "masks": also
    the RLE; annotations without a mask are left out, and so are crowd regions, which are no instances.  A box
    file has them, marked iscrowd, for those who make masks for its boxes to hand them on.  Images without
    annotations stay in the list.  info.left_out counts what was left out.
    Raises UserError when masks are asked for and there are none.
    """
    usable = [row for row in annotations["annotations"] if is_usable(row, kind)]
    unused = [row for row in annotations["annotations"] if not is_usable(row, kind)]
    left_out = {
        "crowds": sum(row["iscrowd"] for row in unused),
        "without_mask": sum(not row["iscrowd"] for row in unused),
    }
    if left_out["without_mask"] and not usable:
        raise UserError(
            source,
            "",
            "has boxes but no masks, so it cannot give mask labels",
            "box supervision (boxinst, mal) works with it: use the preset coco-folder, or remove the mask"
            " labels and their runs",
        )
    return {
        "info": {"kind": kind, "left_out": left_out},
        "images": [
            {key: row[key] for key in ("id", "file_name", "width", "height")} for row in annotations["images"]
        ],
        "annotations": [_label(row, kind) for row in usable],
        "categories": [{"id": row["id"], "name": row["name"]} for row in annotations["categories"]],
    }


def is_usable(row: dict[str, Any], kind: Kind) -> bool:
    """Whether an annotation is in a label file of this kind."""
    return kind == "boxes" or ("segmentation" in row and not row["iscrowd"])


def _label(row: dict[str, Any], kind: Kind) -> dict[str, Any]:
    label = {
        "id": row["id"],
        "image_id": row["image_id"],
        "category_id": row["category_id"],
        "bbox": row["bbox"],
        "iscrowd": row["iscrowd"],
    }
    if kind == "boxes":
        return {**label, "area": row["bbox"][2] * row["bbox"][3]}
    return {**label, "area": row["area"], "segmentation": row["segmentation"]}
