"""Names in params.yaml that must be those of rows."""

from __future__ import annotations

from collections.abc import Mapping


def known(key: str, value: str, table: Mapping[str, object]) -> None:
    """Raise ValueError unless `value`, which stands at `key`, names a row of the table."""
    if value not in table:
        raise ValueError(f"{key}: {value!r} is not defined; defined are {', '.join(sorted(table)) or 'none'}")
