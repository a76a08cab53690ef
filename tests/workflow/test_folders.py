"""The table of folders in docs/architecture.md says what imports what."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROW = re.compile(r"^\| `pipeline/(\w+)` \|.*\| ([^|]*) \|$", re.MULTILINE)


def imported_folders(folder: Path) -> set[str]:
    """The other folders of the library that the modules of one import anywhere in them."""
    found = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pipeline"):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                found |= {name.split(".")[1] for name in names}
    return {name for name in found if (folder.parent / name).is_dir()} - {folder.name}


def test_every_folder_imports_what_the_table_says(root: Path) -> None:
    table = (root / "docs" / "architecture.md").read_text(encoding="utf-8")
    said = {folder: set(re.findall(r"`(\w+)`", others)) for folder, others in ROW.findall(table)}
    packages = [path.parent for path in (root / "pipeline").glob("*/__init__.py")]
    assert said == {folder.name: imported_folders(folder) for folder in packages}
