"""An answer's text, as it streams, taken apart into words for people and calls of tools.

Two forms are read: `<tool_call>{"name": …, "arguments": {…}}</tool_call>` anywhere (Hermes, Qwen, SmolLM), and a bare
`{"name": …, "parameters": {…}}` where the answer begins (Llama 3).  What is no call of a known tool stays text, and no
part of a call or of a tag is given out as text before that is certain.
"""

import json
from collections.abc import Iterable, Iterator
from enum import Enum, auto
from typing import Final

from models.core.request import MAX_JSON_DEPTH, MAX_TOOL_CALL_ID_CHARACTERS, ToolCall, json_object
from models.errors import InvalidRequestError

OPEN: Final = "<tool_call>"
CLOSE: Final = "</tool_call>"
MAX_HELD_CHARACTERS: Final = 64 * 1024  # of what may become a call, or of blanks before one
MAX_BARE_BEGINNING: Final = 256  # characters in which a bare object names its tool
MAX_CALLS: Final = 128  # of one answer; further ones stay text
_OPENING, _CLOSING = "{[", "}]"

Piece = str | ToolCall


class _At(Enum):
    START = auto()  # of the answer or right after a call: a bare object may follow
    TEXT = auto()
    TAG = auto()  # within what may be OPEN, or CLOSE after a call
    OPENED = auto()  # after OPEN: an object must follow
    OBJECT = auto()
    STRING = auto()  # of an object


class ToolCallReader:
    """Text in, text and calls out; the result does not depend on how the text was cut into pieces.

    names: of the tools that may be called; without any, all is text.  id_prefix: what the ids of calls begin with.
    Blanks before a call and after the last one are dropped.
    """

    def __init__(self, names: Iterable[str], *, id_prefix: str) -> None:
        if not 1 <= len(id_prefix) <= MAX_TOOL_CALL_ID_CHARACTERS - len(str(MAX_CALLS)):
            raise InvalidRequestError("id_prefix: too short, or too long for an id")
        self._names = frozenset(names)
        self._id_prefix = id_prefix
        self._calls = 0
        self._at = _At.START
        self._held = ""  # not given out yet: blanks, then a tag and an object as far as they go
        self._begins = 0  # where in `_held` the tag or the object begins
        self._depth = 0
        self._escaped = False
        self._bare = False  # the object stands in no tags
        self._named = False  # it begins as the call of a known tool
        self._closable = False  # the last thing was a call in tags, whose end tag may follow

    def feed(self, text: str) -> list[Piece]:
        """Take the next piece; return what is certain."""
        if not self._names:
            return [text] if text else []
        return _joined(piece for letter in text for piece in self._step(letter))

    def finish(self) -> list[Piece]:
        """Return what was held back, now that no more text comes."""
        held, self._held = self._held, ""
        if self._calls and self._at is _At.START:
            return []
        if self._closable and self._at is _At.TAG and CLOSE.startswith(held[self._begins :]):
            return []
        return [held] if held else []

    def _step(self, letter: str) -> Iterator[Piece]:
        match self._at:
            case _At.OBJECT:
                yield from self._object(letter)
            case _At.STRING:
                yield from self._hold(letter)
                self._string(letter)
            case _At.TAG:
                yield from self._tag(letter)
            case _At.OPENED:
                if letter == "{":
                    yield from self._open(letter, bare=False)
                else:
                    yield from self._hold(letter) if letter.isspace() else self._give_up(letter)
            case _At.START if letter == "{":
                yield from self._open(letter, bare=True)
            case _:
                yield from self._text(letter)

    def _text(self, letter: str) -> Iterator[Piece]:
        if letter.isspace():
            yield from self._hold(letter)
        elif letter == "<":
            self._begins = len(self._held)
            self._held += letter
            self._at = _At.TAG
        else:
            self._closable = False
            self._at = _At.TEXT
            yield self._release() + letter

    def _tag(self, letter: str) -> Iterator[Piece]:
        tag = self._held[self._begins :] + letter
        if tag == OPEN:
            self._held += letter
            self._at = _At.OPENED
        elif self._closable and tag == CLOSE:
            self._release()
            self._closable = False
            self._at = _At.START
        elif OPEN.startswith(tag) or (self._closable and CLOSE.startswith(tag)):
            self._held += letter
        else:
            yield from self._give_up(letter)

    def _open(self, letter: str, *, bare: bool) -> Iterator[Piece]:
        self._begins, self._depth, self._at = len(self._held), 1, _At.OBJECT
        self._bare, self._named = bare, False
        yield from self._hold(letter)

    def _object(self, letter: str) -> Iterator[Piece]:
        self._depth += (letter in _OPENING) - (letter in _CLOSING)
        if letter == '"':
            self._at = _At.STRING
        yield from self._hold(letter)
        if self._at is _At.OBJECT and self._depth == 0:
            call = self._call()
            held = self._release()
            if call is None:
                self._at = _At.TEXT
                yield held
            else:
                self._calls += 1
                self._closable = not self._bare
                self._at = _At.START
                yield call

    def _string(self, letter: str) -> None:
        if self._at is _At.STRING and letter == '"' and not self._escaped:
            self._at = _At.OBJECT
        self._escaped = letter == "\\" and not self._escaped

    def _hold(self, letter: str) -> Iterator[Piece]:
        """Keep a letter back, unless what is held has grown too long, too deep, or into no call."""
        self._held += letter
        in_object = self._at in (_At.OBJECT, _At.STRING)
        if len(self._held) > MAX_HELD_CHARACTERS or (in_object and not self._may_be_call()):
            self._escaped = False
            self._at = _At.TEXT
            yield self._release()

    def _may_be_call(self) -> bool:
        if self._depth > MAX_JSON_DEPTH:
            return False
        if self._bare and not self._named:
            begun = "".join(self._held[self._begins :].split())
            beginnings = [f'{{"name":"{name}"' for name in self._names]
            self._named = any(begun.startswith(beginning) for beginning in beginnings)
            short = len(self._held) - self._begins <= MAX_BARE_BEGINNING
            return self._named or (short and any(beginning.startswith(begun) for beginning in beginnings))
        return True

    def _call(self) -> ToolCall | None:
        value = json_object(self._held[self._begins :])
        if value is None or self._calls >= MAX_CALLS:
            return None
        name, arguments = value.get("name"), value.get("arguments", value.get("parameters", {}))
        if isinstance(arguments, str):  # some models write the object as a text
            arguments = json_object(arguments)
        if not isinstance(name, str) or name not in self._names or not isinstance(arguments, dict):
            return None
        return ToolCall(f"{self._id_prefix}{self._calls}", name, json.dumps(arguments, ensure_ascii=False))

    def _give_up(self, letter: str) -> Iterator[Piece]:
        """What is held is no call; the letter may begin one."""
        self._closable = False
        self._at = _At.TEXT
        yield self._release()
        yield from self._text(letter)

    def _release(self) -> str:
        held, self._held = self._held, ""
        return held


def _joined(pieces: Iterable[Piece]) -> list[Piece]:
    """Join texts that follow each other."""
    joined: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and joined and isinstance(joined[-1], str):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined
