"""Copies of modules in which one expression is another: tests must notice."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest


def load_modules(
    modules: Mapping[str, str], changed: str = "", old: str = "", new: str = ""
) -> SimpleNamespace:
    """Fresh copies of modules, with `old` replaced by `new` in the one called `changed`.

    modules: short name -> module, in the order of their imports.
    """
    fresh: dict[str, ModuleType] = {}
    with pytest.MonkeyPatch.context() as patch:
        for short, name in modules.items():
            spec = importlib.util.find_spec(name)
            assert spec is not None
            assert spec.origin is not None
            source = Path(spec.origin).read_text(encoding="utf-8")
            if short == changed:
                assert source.count(old) == 1, f"{old!r} must occur once in {spec.origin}"
                source = source.replace(old, new)
            module = importlib.util.module_from_spec(spec)
            patch.setitem(sys.modules, name, module)
            exec(compile(source, spec.origin, "exec"), module.__dict__)
            fresh[short] = module
    return SimpleNamespace(**fresh)
