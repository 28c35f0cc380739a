"""A card's fields as people read and type them: one line each, lists with commas and semicolons.

    languages    en, pt-BR
    parents      NAME, RELATION, SOURCE OR DIGEST; …     all but the name may be left out
    tools        NAME VERSION, …                         the version too

"unknown" says that nobody knows, "none" that there are no parents or tools.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from models.core.card import FIELDS, RELATIONS, Card, Parent, Tool, line_of
from models.core.licences import REDISTRIBUTIONS, UNKNOWN, from_identifier, require_expression
from models.core.manifest import is_sha256
from models.errors import InvalidCardError

NONE: Final = "none"

QUESTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "name": "What its makers call it",
        "description": "What it is, in one sentence",
        "licence": "Licence, as SPDX writes it: Apache-2.0, MIT OR ISC, LicenseRef-gemma",
        "licence_url": "Where the licence can be read",
        "licence_text": "The licence itself, where it is short",
        "redistribution": f"May it be passed on: {', '.join(REDISTRIBUTIONS)} (= as the licence says)",
        "languages": "Languages: en, pt-BR",
        "trained_on": "What it was trained on",
        "bad_at": "What it is bad at",
        "intended_use": "What it was made for",
        "architecture": "Architecture",
        "parameters": "How many parameters",
        "quantisation": "How its weights are stored",
        "context_tokens": "The longest context, in tokens",
        "source": "Where this file came from",
        "parents": f"What it was made from: NAME, RELATION, SOURCE; … (relation: {', '.join(RELATIONS)}), or none",
        "recipe": "How it was made from them",
        "tools": "With which programs: NAME VERSION, …, or none",
    }
)
"""What each field asks, in the order in which people are asked."""


def text_of(card: Card, field: str) -> str:
    """Write a field as it can be typed again, but for line breaks."""
    match getattr(card, field):
        case None:
            return UNKNOWN
        case ():
            return NONE
        case tuple(items):
            return ("; " if field == "parents" else ", ").join(map(_item, items))
        case value:
            return str(value)


def value_of(field: str, text: str) -> object:
    """Read what was typed as the field's value in the JSON object; the card itself judges the rest.

    Raises InvalidCardError for a name that is no field, or a text that cannot be read.
    """
    if field not in FIELDS:
        raise InvalidCardError(f"{field[:40]!r} is no field of a card; its fields: {', '.join(FIELDS)}")
    text = text.strip() or UNKNOWN
    return text if text == UNKNOWN else _READERS.get(field, _itself)(text)


def _item(item: str | Parent | Tool) -> str:
    match item:
        case Tool():
            return item.name if item.version == UNKNOWN else f"{item.name} {item.version}"
        case Parent():
            place = item.digest if item.digest != UNKNOWN else item.source
            parts = [item.name, *([item.relation] if (item.relation, place) != (UNKNOWN, UNKNOWN) else [])]
            return ", ".join([*parts, *([place] if place != UNKNOWN else [])])
    return item


def _itself(text: str) -> object:
    return text


def _licence(text: str) -> object:
    """Spell a licence as SPDX does; what is no expression is left for the card to refuse."""
    return from_identifier(require_expression(text))


def _number(text: str) -> object:
    digits = text.replace(",", "").replace("_", "").replace(" ", "")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 16):  # noqa: PLR2004  more is out of range anyway
        raise InvalidCardError(f"{line_of(text, 40)!r} is no whole number")
    return int(digits)


def _split(text: str, separator: str) -> list[str]:
    return [part.strip() for part in text.split(separator) if part.strip()]


def _languages(text: str) -> object:
    return _split(text, ",")


def _parents(text: str) -> object:
    return [] if text == NONE else [_parent(item) for item in _split(text, ";")]


def _parent(text: str) -> dict[str, str]:
    name, relation, place = [*(part.strip() or UNKNOWN for part in text.split(",", 2)), UNKNOWN, UNKNOWN][:3]
    digest, source = (place, UNKNOWN) if is_sha256(place) else (UNKNOWN, place)
    return {"name": name, "digest": digest, "source": source, "relation": relation}


def _tools(text: str) -> object:
    return [] if text == NONE else [_tool(item) for item in _split(text, ",")]


def _tool(text: str) -> dict[str, str]:
    name, _, version = text.rpartition(" ")
    return {"name": name, "version": version} if name else {"name": version, "version": UNKNOWN}


_READERS: Final[Mapping[str, Callable[[str], object]]] = MappingProxyType(
    {
        "licence": _licence,
        "languages": _languages,
        "parameters": _number,
        "context_tokens": _number,
        "parents": _parents,
        "tools": _tools,
    }
)
