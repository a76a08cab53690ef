"""Presets are complete params files; using one copies it over params.yaml."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pipeline.errors import UserError
from pipeline.files import write_text


def preset_names(root: Path) -> list[str]:
    return sorted(path.stem for path in (root / "presets").glob("*.yaml"))


def use_preset(root: Path, name: str, *, force: bool) -> None:
    """Copy presets/NAME.yaml over params.yaml.

    Raises UserError for an unknown name, and for a params.yaml that holds edits which are neither a preset
    nor committed, unless `force`.
    """
    names = preset_names(root)
    if name not in names:
        raise UserError("presets", name, "there is no such preset", f"there are {', '.join(names)}")
    params = root / "params.yaml"
    if params.exists() and not force and not _is_saved(root, params.read_text(encoding="utf-8")):
        raise UserError(
            "params.yaml",
            "",
            "has edits that are saved nowhere",
            "commit it, or copy it to presets/MINE.yaml, or add --force to lose them",
        )
    write_text(params, (root / "presets" / f"{name}.yaml").read_text(encoding="utf-8"))


def _is_saved(root: Path, text: str) -> bool:
    presets = (root / "presets").glob("*.yaml")
    if any(text == preset.read_text(encoding="utf-8") for preset in presets):
        return True
    command = ["git", "show", "HEAD:./params.yaml"]
    shown = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return shown.returncode == 0 and shown.stdout == text
