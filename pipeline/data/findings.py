"""What a check found and put aside: one line per kind of problem, with a count and examples."""

from __future__ import annotations

EXAMPLES = 5


class Findings:
    """Collects findings on one file; `lines` are in the order in which the kinds first occurred."""

    def __init__(self, file: object) -> None:
        self._file = str(file)
        self._kinds: dict[tuple[str, str, str], list[str]] = {}
        self._counts: dict[tuple[str, str, str], int] = {}

    def add(self, noun: str, outcome: str, problem: str, example: str) -> None:
        """Note one `noun` (image, annotation, mask) with its `outcome` (left out, kept) and the `problem`."""
        kind = (noun, outcome, problem)
        self._counts[kind] = self._counts.get(kind, 0) + 1
        examples = self._kinds.setdefault(kind, [])
        if len(examples) < EXAMPLES:
            examples.append(example)

    def lines(self) -> list[str]:
        """One line per kind: file, how many of what, what became of them, why, and up to five examples."""
        return [self._line(kind) for kind in self._kinds]

    def _line(self, kind: tuple[str, str, str]) -> str:
        (noun, outcome, problem), count, examples = kind, self._counts[kind], self._kinds[kind]
        more = f"; and {count - len(examples)} more" if count > len(examples) else ""
        line = (
            f"{self._file}: {count} {noun}{'s' if count > 1 else ''} {outcome}: {problem}:"
            f" {'; '.join(examples)}{more}"
        )
        return " ".join(line.split())
