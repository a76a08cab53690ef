"""The rows on SPML's page are rows of params.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from pipeline.params import Params
from pipeline.params_file import tuples


@pytest.fixture(scope="module")
def page(root: Path) -> dict[str, Any]:
    text = (root / "docs" / "methods" / "spml.md").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text.split("```yaml\n", 1)[1].split("```", 1)[0])
    return content


def test_every_table_is_one_of_params_and_its_rows_are_valid(page: dict[str, Any]) -> None:
    """The sections by themselves: what rows name of each other is up to the reader's params.yaml."""
    assert {"semantic_models", "semantic_methods", "spread_cam_labels", "semantic_predict"} <= page.keys()
    for table, content in page.items():
        TypeAdapter[Any](Params.model_fields[table].annotation).validate_python(tuples(content))
