"""Reading params.yaml: YAML as DVC reads it, and every mistake as one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipeline.errors import UserError
from pipeline.params import Params

try:
    from yaml import CSafeLoader as _CompiledLoader
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeLoader as _CompiledLoader  # type: ignore[assignment]


class _Strict(yaml.constructor.SafeConstructor):
    """Refuses a key written twice, as DVC does."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is written twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


class _Loader(_Strict, yaml.SafeLoader):
    """Its messages quote the line."""


class _FastLoader(_Strict, _CompiledLoader):
    """As safe, as it builds no objects either, in a tenth of the time: a fifth of a second in each stage."""


for _loader in (_Loader, _FastLoader):
    _loader.add_implicit_resolver(  # 1e-4 is a number, as for DVC (YAML 1.2)
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$"),
        list("-+0123456789."),
    )


def read_yaml(text: str) -> Any:
    """The content of a YAML text, read as DVC reads it.  Raises yaml.YAMLError."""
    try:
        return yaml.load(text, Loader=_FastLoader)
    except yaml.YAMLError:
        return yaml.load(text, Loader=_Loader)


def load_params(path: Path) -> Params:
    """Read and validate a params file.  Raises UserError with one line per mistake, joined by ' | '."""
    try:
        raw = read_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(path, "", "file not found", "run `python -m pipeline use demo`") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(path, "", f"not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise UserError(path, "", "is not a table of sections", "run `python -m pipeline use demo`")
    try:
        return Params.model_validate(tuples(raw))
    except ValidationError as error:
        lines = [_line(item, raw) for item in _causes(error.errors())]
        raise UserError(path, "", " | ".join(lines)) from None


def tuples(value: Any) -> Any:
    """YAML lists as tuples, since the models are frozen and strict."""
    if isinstance(value, dict):
        return {key: tuples(item) for key, item in value.items()}
    return tuple(tuples(item) for item in value) if isinstance(value, list) else value


def _causes(items: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without the lists that are too short only because an entry of theirs was refused."""
    places = [item["loc"] for item in items]

    def follows(item: ErrorDetails) -> bool:
        own = item["loc"]
        return item["type"] == "too_short" and any(
            len(place) > len(own) and place[: len(own)] == own for place in places
        )

    return [item for item in items if not follows(item)]


def _key(item: ErrorDetails, raw: dict[Any, Any]) -> str:
    """Where an error lies, as keys of the file: the kinds of rows, which pydantic names too, are left out."""
    found: list[str] = []
    value: Any = raw
    for index, part in enumerate(item["loc"]):
        inside = isinstance(value, dict) and part in value
        inside = inside or (isinstance(value, list) and isinstance(part, int) and part < len(value))
        if inside:
            value = value[part]
        if inside or (item["type"] == "missing" and index + 1 == len(item["loc"])):
            found.append(str(part))
    return ".".join(found)


def _line(item: ErrorDetails, raw: dict[Any, Any]) -> str:
    """One validation error as `key: value: what is allowed`."""
    key = _key(item, raw)
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        return f"{key}: unknown key; remove it or correct its spelling"
    if item["type"] == "missing":
        return f"{key}: missing; every key must be written out"
    if item["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return _kind_line(key, item)
    if item["type"] == "value_error":
        return f"{key}: {message}" if key else message
    if item["type"] in ("dict_type", "model_type", "tuple_type"):
        wanted = "a list, as [1, 2]" if item["type"] == "tuple_type" else "a table; an empty one is {}"
        return f"{key}: {item['input']!r} is not allowed: it must be {wanted}"
    message = message.replace("Tuple", "List").replace(" after validation", "")
    shown = list(item["input"]) if isinstance(item["input"], tuple) else item["input"]
    return f"{key}: {shown!r} is not allowed: {message[0].lower()}{message[1:]}"


def _kind_line(key: str, item: ErrorDetails) -> str:
    """A row whose kind (or architecture) is unknown or missing."""
    context = {name: value.replace("'", "") for name, value in item["ctx"].items()}
    name = f"{key}.{context['discriminator']}"
    if item["type"] == "union_tag_not_found":
        return f"{name}: missing; every key must be written out"
    return f"{name}: {context['tag']!r} is not allowed: it must be one of {context['expected_tags']}"
