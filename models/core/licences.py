"""Licences as SPDX expressions, and whether one lets a model be passed on: a small table, with reasons in words.

It is no legal advice and knows only what is well known; whatever it does not know is "unknown", and the owner
who has read the licence decides.  Grammar: SPDX specification 2.3, annex D.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from models.errors import InvalidCardError

Redistribution = Literal["allowed", "forbidden", "unknown"]
MAX_EXPRESSION_CHARACTERS: Final = 200
MAX_REFERENCE_CHARACTERS: Final = 80
MAX_DEPTH: Final = 8
UNKNOWN: Final = "unknown"
REDISTRIBUTIONS: Final = ("allowed", "forbidden", UNKNOWN)
_WORST_FIRST: Final = ("forbidden", UNKNOWN, "allowed")

_TOKEN: Final = re.compile(r" *([()]|[A-Za-z0-9.:+-]+) *", re.ASCII)
_IDENTIFIER: Final = re.compile(r"(DocumentRef-[A-Za-z0-9.-]+:)?LicenseRef-[A-Za-z0-9.-]+|[A-Za-z0-9.-]+\+?", re.ASCII)
_OPERATORS: Final = ("AND", "OR", "WITH")

_FREE = "anyone may pass copies on; keep the notices with them"
_SHARE_ALIKE = "copies may be passed on under this same licence"
_NOT_FOR_MONEY = "copies may be passed on, but not for money or in a business"
_UNCHANGED = "copies may be passed on unchanged"
_UNCHANGED_NOT_FOR_MONEY = "copies may be passed on unchanged, but not for money or in a business"
_TERMS_GO_ALONG = "copies may be passed on if the licence and its rules of use go with them"
_RESERVED = "its owner has kept the right to pass copies on"
_PERSONAL = "whoever got it got it for themselves, and may not pass copies on"

# By beginning of the identifier, whatever its case, the longest that fits; the rest is a version or a flavour.
TABLE: Final[Mapping[str, tuple[Redistribution, str]]] = MappingProxyType(
    {
        "0BSD": ("allowed", _FREE),
        "AFL-3.0": ("allowed", _FREE),
        "AGPL-3.0": ("allowed", _SHARE_ALIKE),
        "Apache-2.0": ("allowed", _FREE),
        "Artistic-2.0": ("allowed", _FREE),
        "BSD-2-Clause": ("allowed", _FREE),
        "BSD-3-Clause": ("allowed", _FREE),
        "BSL-1.0": ("allowed", _FREE),
        "CC-BY-1.0": ("allowed", _FREE),
        "CC-BY-2.0": ("allowed", _FREE),
        "CC-BY-2.5": ("allowed", _FREE),
        "CC-BY-3.0": ("allowed", _FREE),
        "CC-BY-4.0": ("allowed", _FREE),
        "CC-BY-NC": ("allowed", _NOT_FOR_MONEY),
        "CC-BY-NC-ND": ("allowed", _UNCHANGED_NOT_FOR_MONEY),
        "CC-BY-NC-SA": ("allowed", _NOT_FOR_MONEY),
        "CC-BY-ND": ("allowed", _UNCHANGED),
        "CC-BY-SA": ("allowed", _SHARE_ALIKE),
        "CC0-1.0": ("allowed", "its makers have given up their rights: anyone may pass copies on"),
        "CDLA-Permissive": ("allowed", _FREE),
        "CDLA-Sharing": ("allowed", _SHARE_ALIKE),
        "ECL-2.0": ("allowed", _FREE),
        "EPL-1.0": ("allowed", _SHARE_ALIKE),
        "EPL-2.0": ("allowed", _SHARE_ALIKE),
        "EUPL-1.1": ("allowed", _SHARE_ALIKE),
        "EUPL-1.2": ("allowed", _SHARE_ALIKE),
        "GPL-2.0": ("allowed", _SHARE_ALIKE),
        "GPL-3.0": ("allowed", _SHARE_ALIKE),
        "ISC": ("allowed", _FREE),
        "LGPL-2.1": ("allowed", _SHARE_ALIKE),
        "LGPL-3.0": ("allowed", _SHARE_ALIKE),
        "LicenseRef-all-rights-reserved": ("forbidden", _RESERVED),
        "LicenseRef-bigcode-openrail-m": ("allowed", _TERMS_GO_ALONG),
        "LicenseRef-bigscience-bloom-rail-1.0": ("allowed", _TERMS_GO_ALONG),
        "LicenseRef-bigscience-openrail-m": ("allowed", _TERMS_GO_ALONG),
        "LicenseRef-creativeml-openrail-m": ("allowed", _TERMS_GO_ALONG),
        "LicenseRef-gemma": ("allowed", _TERMS_GO_ALONG),
        "LicenseRef-llama1": ("forbidden", _PERSONAL),
        "LicenseRef-llama2": ("allowed", _TERMS_GO_ALONG),
        "LicenseRef-llama3": ("allowed", _TERMS_GO_ALONG),
        "LicenseRef-llama4": ("allowed", _TERMS_GO_ALONG),
        "LicenseRef-proprietary": ("forbidden", _RESERVED),
        "MIT": ("allowed", _FREE),
        "MPL-2.0": ("allowed", _SHARE_ALIKE),
        "MS-PL": ("allowed", _FREE),
        "ODC-By-1.0": ("allowed", _FREE),
        "OSL-3.0": ("allowed", _SHARE_ALIKE),
        "Unlicense": ("allowed", "its makers have given up their rights: anyone may pass copies on"),
        "WTFPL": ("allowed", _FREE),
        "Zlib": ("allowed", _FREE),
    }
)


@dataclass(frozen=True)
class Judgement:
    """Whether copies may be passed on, and why, in words for people."""

    redistribution: Redistribution
    reason: str


def require_expression(text: str) -> str:
    """Return `text` if it is "unknown" or an SPDX licence expression.  Raises InvalidCardError."""
    judge(text)
    return text


def judge(expression: str) -> Judgement:
    """Decide by the table: of licences joined by OR the kindest counts, of those joined by AND the strictest.

    Raises InvalidCardError for what is neither "unknown" nor an SPDX expression.
    """
    if expression == UNKNOWN:
        return Judgement(UNKNOWN, "its licence is unknown")
    if len(expression) > MAX_EXPRESSION_CHARACTERS:
        raise InvalidCardError(f"licence: at most {MAX_EXPRESSION_CHARACTERS} characters")
    return _Expression(expression).judge()


def from_identifier(text: str, *, name: str = "") -> str:
    """Turn what a model file or a hub calls a licence into an SPDX expression, "unknown" if that says nothing.

    name: what the licence is called where the identifier is only "other".  What is no SPDX name and is not in the
    table becomes a LicenseRef of its letters, digits, dots and hyphens.
    """
    text = text.strip()
    if text.lower() == "other":
        text = name.strip() or text
    if text.lower() in ("", UNKNOWN):
        return UNKNOWN
    for identifier in (text, f"LicenseRef-{text}"):
        if known := _known(identifier):
            spelled = known + identifier[len(known) :]
            if _IDENTIFIER.fullmatch(spelled):
                return spelled
    with suppress(InvalidCardError):
        if " " in text and judge(text):
            return text
    letters = re.sub(r"[^A-Za-z0-9.]+", "-", text.removeprefix("LicenseRef-")).strip("-")[:MAX_REFERENCE_CHARACTERS]
    return f"LicenseRef-{letters}" if letters else UNKNOWN


class _Expression:
    """An SPDX expression, read from left to right by recursive descent: OR of AND of licences."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._depth = 0

    def judge(self) -> Judgement:
        judgement = self._either()
        if self._tokens:
            raise _not_spdx()
        return judgement

    def _either(self) -> Judgement:
        found = [self._both()]
        while self._next_is("OR"):
            found.append(self._both())
        return max(found, key=_kindness)

    def _both(self) -> Judgement:
        found = [self._one()]
        while self._next_is("AND"):
            found.append(self._one())
        return min(found, key=_kindness)

    def _one(self) -> Judgement:
        if self._next_is("("):
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise _not_spdx()
            judgement = self._either()
            self._depth -= 1
            if not self._next_is(")"):
                raise _not_spdx()
            return judgement
        judgement = _look_up(self._identifier())
        if self._next_is("WITH"):
            self._identifier()  # an exception only ever permits more
        return judgement

    def _identifier(self) -> str:
        if not self._tokens or self._tokens[0] in _OPERATORS or not _IDENTIFIER.fullmatch(self._tokens[0]):
            raise _not_spdx()
        return self._tokens.pop(0)

    def _next_is(self, token: str) -> bool:
        if self._tokens[:1] != [token]:
            return False
        del self._tokens[0]
        return True


def _tokens(text: str) -> Iterator[str]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _not_spdx()
        yield match[1]
        position = match.end()


def _look_up(identifier: str) -> Judgement:
    known = _known(identifier)
    if known is None:
        return Judgement(UNKNOWN, f"{identifier}: not in the table of well-known licences")
    redistribution, reason = TABLE[known]
    return Judgement(redistribution, f"{identifier}: {reason}")


def _known(identifier: str) -> str | None:
    """Return the row of the table that speaks of a licence."""
    lowered = identifier.lower()
    for known in sorted(TABLE, key=len, reverse=True):
        if lowered.startswith(known.lower()) and lowered[len(known) :][:1] in ("", "-", ".", "+"):
            return known
    return None


def _kindness(judgement: Judgement) -> int:
    return _WORST_FIRST.index(judgement.redistribution)


def _not_spdx() -> InvalidCardError:
    return InvalidCardError('licence: an SPDX expression, such as Apache-2.0 or LicenseRef-gemma, or "unknown"')
