"""What people should know of a model before they use it or pass it on.

What nobody knows is None here and "unknown" in JSON; nothing is invented.  The bytes are canonical JSON; what may
stand where is said a second time, for other programs, in models/card.schema.json.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, TypeVar, get_args

from models.core import canonical_json
from models.core.licences import REDISTRIBUTIONS, UNKNOWN, Judgement, Redistribution, judge, require_expression
from models.core.manifest import is_sha256
from models.errors import InvalidCardError

FORMAT: Final = "hearthmesh-card/1"
MAX_CARD_BYTES: Final = 48 * 1024  # a release of 64 KiB holds it
MAX_NAME_CHARACTERS: Final = 100
MAX_LINE_CHARACTERS: Final = 500
MAX_PROSE_CHARACTERS: Final = 4000
MAX_LICENCE_TEXT_CHARACTERS: Final = 32_000
MAX_LANGUAGES: Final = 64
MAX_PARENTS: Final = 16
MAX_TOOLS: Final = 16
MAX_PARAMETERS: Final = 10**15
MAX_CONTEXT_TOKENS: Final = 2**31

Relation = Literal["quantised", "fine-tuned", "merged", "converted", "distilled", "unknown"]
RELATIONS: Final[tuple[Relation, ...]] = get_args(Relation)

# What would steer a terminal or reverse the direction of what follows, and what UTF-8 cannot write.
_STEERING: Final = r"\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_IN_NO_LINE: Final = re.compile(rf"[\x00-\x1f{_STEERING}]")
_IN_NO_PROSE: Final = re.compile(rf"[\x00-\x08\x0b-\x1f{_STEERING}]")  # tabs and line breaks are good
_LANGUAGE: Final = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8}){0,4}", re.ASCII)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Parent:
    """A model that another was made from.  digest: the parent's own, where it is known.  Raises InvalidCardError."""

    name: str
    digest: str = UNKNOWN
    source: str = UNKNOWN
    relation: Relation = UNKNOWN

    def __post_init__(self) -> None:
        _line("parents: name", self.name, MAX_NAME_CHARACTERS)
        if self.digest != UNKNOWN and not is_sha256(self.digest):
            raise InvalidCardError('parents: digest: 64 lowercase hexadecimal digits, or "unknown"')
        _line("parents: source", self.source, MAX_LINE_CHARACTERS)
        _one_of("parents: relation", self.relation, RELATIONS)


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A program that had a part in making a model.  Raises InvalidCardError."""

    name: str
    version: str = UNKNOWN

    def __post_init__(self) -> None:
        _line("tools: name", self.name, MAX_NAME_CHARACTERS)
        _line("tools: version", self.version, MAX_NAME_CHARACTERS)


@dataclass(frozen=True, kw_only=True)
class Card:
    """A model's card.  Raises InvalidCardError naming the field.

    licence: SPDX expression.  redistribution: what the owner says of it; see `may_share`.  trained_on, bad_at,
    intended_use, recipe: prose.  languages: BCP 47.  parameters: how many weights.  parents: () says that there
    are none.
    """

    name: str
    description: str = UNKNOWN
    licence: str = UNKNOWN
    licence_url: str = UNKNOWN
    licence_text: str = UNKNOWN
    redistribution: Redistribution = UNKNOWN
    languages: tuple[str, ...] | None = None
    trained_on: str = UNKNOWN
    bad_at: str = UNKNOWN
    intended_use: str = UNKNOWN
    architecture: str = UNKNOWN
    parameters: int | None = None
    quantisation: str = UNKNOWN
    context_tokens: int | None = None
    source: str = UNKNOWN
    parents: tuple[Parent, ...] | None = None
    recipe: str = UNKNOWN
    tools: tuple[Tool, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("name", "architecture", "quantisation"):
            _line(name, getattr(self, name), MAX_NAME_CHARACTERS)
        for name in ("description", "licence_url", "source"):
            _line(name, getattr(self, name), MAX_LINE_CHARACTERS)
        for name in ("trained_on", "bad_at", "intended_use", "recipe"):
            _prose(name, getattr(self, name), MAX_PROSE_CHARACTERS)
        _prose("licence_text", self.licence_text, MAX_LICENCE_TEXT_CHARACTERS)
        require_expression(_line("licence", self.licence, MAX_LINE_CHARACTERS))
        _one_of("redistribution", self.redistribution, REDISTRIBUTIONS)
        _number("parameters", self.parameters, MAX_PARAMETERS)
        _number("context_tokens", self.context_tokens, MAX_CONTEXT_TOKENS)
        _count("languages", self.languages, 1, MAX_LANGUAGES)
        for language in self.languages or ():
            _tag(language)
        _count("parents", self.parents, 0, MAX_PARENTS)
        _count("tools", self.tools, 0, MAX_TOOLS)
        if (size := len(self.to_bytes())) > MAX_CARD_BYTES:
            raise InvalidCardError(f"a card of {size} bytes, at most {MAX_CARD_BYTES} are kept: shorten its texts")

    @classmethod
    def parse(cls, data: bytes) -> "Card":
        """Read canonical bytes; anything else, even the same content written differently, is refused."""
        try:
            value = canonical_json.loads(data, limit_bytes=MAX_CARD_BYTES)
        except ValueError as error:
            raise InvalidCardError(f"a card that cannot be read: {error}") from error
        return cls.from_fields(value)

    @classmethod
    def from_fields(cls, value: object) -> "Card":
        """Read the JSON object: every field, no other.  Raises InvalidCardError naming what is wrong."""
        known = _object("a card", value, ("format", *FIELDS))
        if known["format"] != FORMAT:
            raise InvalidCardError(f"a card that is not {FORMAT}")
        values = {name: known[name] for name in FIELDS}
        values["languages"] = _list("languages", values["languages"], _tag)
        values["parents"] = _list("parents", values["parents"], _parent)
        values["tools"] = _list("tools", values["tools"], _tool)
        for name in ("parameters", "context_tokens"):
            values[name] = _int_or_unknown(name, values[name])
        return cls(**values)

    @classmethod
    def of(cls, known: Mapping[str, object]) -> "Card":
        """Make a card of some fields of the JSON object; the others are unknown.  Raises InvalidCardError."""
        return cls.from_fields({"format": FORMAT} | dict.fromkeys(FIELDS, UNKNOWN) | dict(known))

    def changed(self, known: Mapping[str, object]) -> "Card":
        """Return the card with some fields of the JSON object as given.  Raises InvalidCardError."""
        return Card.from_fields(self.to_fields() | dict(known))

    def filled(self, known: Mapping[str, object]) -> "Card":
        """Return the card with fields of the JSON object where it knows nothing itself.  Raises InvalidCardError."""
        mine = self.to_fields()
        return self.changed({name: value for name, value in known.items() if mine.get(name, UNKNOWN) == UNKNOWN})

    def judgement(self) -> Judgement:
        """Whether the model may be passed on: what the licence forbids stays forbidden, whatever else is said."""
        by_licence = judge(self.licence)
        if self.redistribution in (UNKNOWN, by_licence.redistribution) or by_licence.redistribution == "forbidden":
            return by_licence
        return Judgement(self.redistribution, f"its card says so; by the table of licences: {by_licence.reason}")

    def to_fields(self) -> dict[str, Any]:
        """Return the JSON object."""
        known = {"format": FORMAT} | asdict(self)
        return {name: _written(value) for name, value in known.items()}

    def to_bytes(self) -> bytes:
        """Write the canonical bytes."""
        return canonical_json.dumps(self.to_fields())


@dataclass(frozen=True)
class Refusal:
    """Why a model is not shared, and what its owner can do."""

    reason: str
    hint: str

    def __str__(self) -> str:
        return self.reason


def may_share(card: Card | None) -> Refusal | None:
    """Return None where a model may be passed on to neighbours, and otherwise why not."""
    if card is None:
        return Refusal("it has no card", "make one: hearth models card NAME --edit")
    if card.licence == UNKNOWN:
        return Refusal(
            "nobody knows its licence",
            "find its licence and write it down: hearth models card NAME --set licence=Apache-2.0, or whatever it is",
        )
    judgement = card.judgement()
    match judgement.redistribution:
        case "allowed":
            return None
        case "forbidden":
            return Refusal(
                f"its licence forbids to pass it on ({judgement.reason})",
                "neighbours can get it where it comes from: hearth models card NAME shows its source; "
                "if the card is wrong, correct it: hearth models card NAME --edit",
            )
    return Refusal(
        f"nobody knows whether its licence lets it be passed on ({judgement.reason})",
        "read the licence, and where it does: hearth models card NAME --set redistribution=allowed",
    )


FIELDS: Final = tuple(field.name for field in fields(Card))
"""Every field of a card, in the order in which people are asked."""


def line_of(text: str, limit: int = MAX_LINE_CHARACTERS) -> str:
    """Return as much of a text from outside as one line of a card holds; "unknown" if that is nothing."""
    return " ".join(_IN_NO_LINE.sub(" ", text).split())[:limit].strip() or UNKNOWN


def _line(where: str, text: object, limit: int) -> str:
    if isinstance(text, str) and 1 <= len(text) <= limit and not _IN_NO_LINE.search(text):
        return text
    raise InvalidCardError(f'{where}: 1 to {limit} printable characters on one line; "unknown" where nobody knows')


def _prose(where: str, text: object, limit: int) -> None:
    if not (isinstance(text, str) and 1 <= len(text) <= limit and not _IN_NO_PROSE.search(text)):
        raise InvalidCardError(f'{where}: 1 to {limit} printable characters; "unknown" where nobody knows')


def _one_of(where: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InvalidCardError(f"{where}: one of {', '.join(known)}")


def _number(where: str, value: object, limit: int) -> None:
    if value is not None and not (type(value) is int and 1 <= value <= limit):
        raise InvalidCardError(f'{where}: a whole number from 1 to {limit}, or "unknown"')


def _count(where: str, items: tuple[object, ...] | None, least: int, most: int) -> None:
    if items is not None and not least <= len(items) <= most:
        raise InvalidCardError(f'{where}: a list of {least} to {most}, or "unknown"')


def _object(where: str, value: object, names: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != set(names):
        raise InvalidCardError(f"{where} has exactly the fields {', '.join(names)}")
    return value


def _list(where: str, value: object, read: Callable[[object], T]) -> tuple[T, ...] | None:
    if value == UNKNOWN:
        return None
    if not isinstance(value, list):
        raise InvalidCardError(f'{where}: a list, or "unknown"')
    return tuple(map(read, value))


def _int_or_unknown(where: str, value: object) -> int | None:
    if value == UNKNOWN:
        return None
    if type(value) is not int:  # null included: in JSON only "unknown" says that nobody knows
        raise InvalidCardError(f'{where}: a whole number, or "unknown"')
    return value


def _written(value: object) -> object:
    if value is None:
        return UNKNOWN
    return list(value) if isinstance(value, tuple) else value


def _tag(value: object) -> str:
    if not (isinstance(value, str) and _LANGUAGE.fullmatch(value)):
        raise InvalidCardError("languages: tags such as en or pt-BR")
    return value


def _parent(value: object) -> Parent:
    return Parent(**_object("parents: each", value, tuple(field.name for field in fields(Parent))))


def _tool(value: object) -> Tool:
    return Tool(**_object("tools: each", value, tuple(field.name for field in fields(Tool))))
