"""The given collection of malformed and unusual datasets, each with the verdict that it must get."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.data.coco import read_coco
from pipeline.data.images import read_image
from pipeline.errors import UserError

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "bad-inputs"
CASES = json.loads((FOLDER / "expected.json").read_text())["cases"] if FOLDER.is_dir() else []

pytestmark = pytest.mark.skipif(not CASES, reason="needs the reference material in ../shared")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_verdict_is_the_expected_one(case: dict[str, Any]) -> None:
    verdict, kept, text = _verdict(case)
    assert verdict == case["verdict"]
    assert kept == case.get("kept", kept)
    for part in case.get("message_should_contain", []):
        assert part in text


@pytest.mark.parametrize(
    "case", [case for case in CASES if "mean_rgb_after_loading" in case], ids=lambda case: case["case"]
)
def test_unusual_images_have_the_right_colours(case: dict[str, Any]) -> None:
    for name, mean in case["mean_rgb_after_loading"].items():
        pixels = read_image(FOLDER / case["images"] / name)
        assert pixels.mean((0, 1)) == pytest.approx(mean, abs=1.5)


def _verdict(case: dict[str, Any]) -> tuple[str, dict[str, int] | None, str]:
    try:
        checked = read_coco(FOLDER / case["annotations"], FOLDER / case["images"], 1)
    except UserError as error:
        return "reject", None, str(error)
    kept = {"images": len(checked.images), "annotations": len(checked.coco["annotations"])}
    assert all("\n" not in line for line in checked.warnings)
    return "warn-and-skip" if checked.warnings else "valid", kept, " | ".join(checked.warnings)
