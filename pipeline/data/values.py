"""Single values of an annotation file: of what type they are, and how to show them in a message."""

from __future__ import annotations

import reprlib
from typing import Any, TypeGuard


def is_id(value: Any) -> TypeGuard[int]:
    """A whole number of at most 64 bits; True and 1.0 are none."""
    return type(value) is int and -(2**63) <= value < 2**63


def is_number(value: Any) -> TypeGuard[float]:
    """An int or a float, possibly NaN; True is none."""
    return type(value) is int or type(value) is float


def is_text(value: Any) -> TypeGuard[str]:
    """Text that has a UTF-8 form: JSON can hold halves of characters, which no file can."""
    return isinstance(value, str) and (
        value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)
    )


def show(value: Any) -> str:
    """A value for a message: shortened, and with control characters escaped."""
    shortener = reprlib.Repr()
    shortener.maxstring = shortener.maxother = 120
    return shortener.repr(value)


def show_name(name: str) -> str:
    """A file name for a message: without quotes, unless it begins or ends with a blank that must be seen."""
    return show(name)[1:-1] if name == name.strip() else show(name)
