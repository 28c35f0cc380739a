"""From parsed JSON to a frozen dataclass, by the dataclass's own annotations.

Text from outside (names, descriptions, answers) loses its control characters here, so that no neighbour can
write escape codes to the owner's terminal.
"""

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")

# C0, DEL, C1, lone surrogates, line separators, and the marks that reverse the direction of what follows.
_STEERING = (*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000), 0x2028, 0x2029)
_REVERSING = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_DROPPED = dict.fromkeys((*_STEERING, *_REVERSING))
_DROPPED_IN_PROSE = {code: None for code in _DROPPED if chr(code) not in "\n\t"}
_GREATEST = 2**63


class MalformedReplyError(ValueError):
    """A reply lacks a field or has it in another type; the message names it."""


def one_line(text: str) -> str:
    """Drop what would steer a terminal, line breaks and tabs included."""
    return text.translate(_DROPPED)


def prose(text: str) -> str:
    """Drop what would steer a terminal, but keep line breaks and tabs."""
    return text.translate(_DROPPED_IN_PROSE)


def parse(kind: type[T], value: object, where: str = "reply") -> T:
    """Build a `kind`, a dataclass of str, int, float, bool, such dataclasses, their tuples and their options.

    A field with a default may be absent. Unknown fields are left alone, so that a newer daemon is still
    understood. MalformedReplyError names the first field that does not fit.
    """
    if not isinstance(value, Mapping):
        raise MalformedReplyError(f"{where} is no object")
    arguments = {}
    for field, annotation in _fields(typing.cast("Any", kind)):
        if field.name in value:
            arguments[field.name] = _convert(annotation, value[field.name], f"{where}.{field.name}")
        elif field.default is dataclasses.MISSING:
            raise MalformedReplyError(f"{where}.{field.name} is missing")
    return kind(**arguments)


@functools.cache
def _fields(kind: Any) -> tuple[tuple[dataclasses.Field[Any], Any], ...]:  # noqa: ANN401  a dataclass
    hints = typing.get_type_hints(kind)
    return tuple((field, hints[field.name]) for field in dataclasses.fields(kind))


def _convert(annotation: Any, value: object, where: str) -> Any:  # noqa: ANN401  the annotation says what it is
    origin, options = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is types.UnionType:
        return None if value is None else _convert(options[0], value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_convert(options[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if dataclasses.is_dataclass(annotation):
        return parse(typing.cast("type[object]", annotation), value, where)
    if annotation is str and isinstance(value, str):
        return one_line(value)
    if annotation is bool and isinstance(value, bool):
        return value
    if annotation in (int, float) and isinstance(value, (int, annotation)) and not isinstance(value, bool):
        if abs(value) < _GREATEST:  # False for NaN too
            return annotation(value)
        raise MalformedReplyError(f"{where} is out of range")
    wanted = "list" if origin is tuple else annotation.__name__
    raise MalformedReplyError(f"{where} is no {wanted}")
