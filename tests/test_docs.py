"""Links between the pages lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")]
_LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)(?:#([^)\s]+))?\)")


def anchors(page: Path) -> set[str]:
    """The names that headings have as targets of links."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target, anchor in _LINK.findall(page.read_text(encoding="utf-8")):
        found = page.parent / target
        assert found.exists() or target.startswith("reports/"), target
        if anchor and found.suffix == ".md":
            assert anchor in anchors(found), f"{target}#{anchor}"


def test_every_trained_method_has_a_page() -> None:
    """Beside the code they would be dependencies of stages, which a change of words would run again."""
    pages = {page.stem for page in (ROOT / "docs" / "methods").glob("*.md")}
    methods = {path.parent.name for path in (ROOT / "pipeline" / "methods").glob("*/method.py")}
    assert methods - {"pretraining"} <= pages | {"supervised"}
    assert not list((ROOT / "pipeline").rglob("*.md"))


@pytest.mark.parametrize("method", ["box_teacher", "boxinst", "guided_distillation", "mal", "spml"])
def test_pages_of_published_systems_answer_the_same_questions(method: str) -> None:
    headings = anchors(ROOT / "docs" / "methods" / f"{method}.md")
    assert {"what-is-exact", "what-differs", "recipe", "cost", "figures"} <= headings
