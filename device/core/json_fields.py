"""A JSON body and its fields, read one by one: each is of its kind and within bounds, or named in a BadRequestError."""

import json
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from device.errors import BadRequestError, NotSupportedError
from models.core.request import MAX_SEED, is_text

MAX_NAME_CHARACTERS: Final = 256
KINDS: Final[Mapping[type, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    dict: "an object",
    list: "a list",
}

T = TypeVar("T")


def parse_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object as it comes over HTTP.  Raises BadRequestError."""
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else "not UTF-8, too deep, or a number too long"
        raise BadRequestError(f"the body is no JSON: {reason}") from error
    if not isinstance(value, dict):
        raise BadRequestError("the body is no JSON object")
    return value


def optional(fields: Mapping[str, Any], key: str, kind: type[T], *, default: Any, where: str = "") -> Any:  # noqa: ANN401  mypy cannot say "T or the default's type"
    """Read a field that may be absent or null; a whole number also counts as a number, and 5.0 as a whole one.

    where: the field's path in the body, if `fields` is not the body itself.
    """
    value = fields.get(key)
    if value is None:
        return default
    if type(value) is kind:
        return value
    if kind is float and type(value) is int and abs(value) <= MAX_SEED:
        return float(value)
    if kind is int and type(value) is float and value.is_integer():
        return int(value)
    raise BadRequestError(f"{where or key}: {KINDS[kind]}", param=where or key)


def name_in(fields: Mapping[str, Any], key: str, default: str, *, where: str = "") -> str:
    """Read the name of a model or a node: one printable line."""
    name: str = optional(fields, key, str, default=default, where=where)
    if not (1 <= len(name) <= MAX_NAME_CHARACTERS and name.isprintable()):
        raise BadRequestError(f"{where or key}: 1 to {MAX_NAME_CHARACTERS} printable characters", param=where or key)
    return name


def refuse_unsupported(
    fields: Mapping[str, Any], harmless: Mapping[str, tuple[object, ...]], *, where: str = ""
) -> None:
    """Raise NotSupportedError for a field that would change the answer, unless its value asks for nothing.

    harmless: the values that ask for nothing, beside null, of each such field.
    """
    for name, known in harmless.items():
        value = fields.get(name)
        if value is not None and not any(type(value) is type(one) and value == one for one in known):
            raise NotSupportedError(f"{where}{name} is not supported", param=f"{where}{name}")


def json_text(value: object, where: str) -> str:
    """Write a part of the body as JSON again.  Raises BadRequestError for what no other reader would take."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"{where}: too deep, or a number too large", param=where) from error
    if not is_text(text):
        raise BadRequestError(f"{where}: text that UTF-8 can write", param=where)
    return text


def _refuse_constant(name: str) -> float:
    raise ValueError(name)
