"""Reading a JSON file of the user: whole, and without keys that hide each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.data.values import is_id, show
from pipeline.errors import UserError


def read_user_json(path: Path) -> Any:
    """The content of a JSON file in UTF-8.

    Raises UserError for a file that cannot be read, is damaged or has a key twice in one object.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_object)
    except OSError as error:
        raise UserError(
            path, "", f"cannot be read: {error.strerror}", "check the path in params.yaml"
        ) from None
    except _RepeatedKey as error:
        raise UserError(
            path, "", f"the key {error} occurs twice in one object, so one value would be lost", "keep one"
        ) from None
    except UnicodeDecodeError:
        raise UserError(path, "", "is not UTF-8 text", "save it as plain JSON in UTF-8") from None
    except json.JSONDecodeError as error:
        raise UserError(path, "", f"is not complete, valid JSON: {error}", "export it again") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, nesting without end
        raise UserError(path, "", f"is not usable JSON: {error}", "export it again") from None


class _RepeatedKey(Exception):
    """A JSON object in which a key occurs twice: Python's reader would keep the last in silence."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        example = f" (of the object with id {members['id']})" if is_id(members.get("id")) else ""
        raise _RepeatedKey(f"{show(repeated)}{example}")
    return members
