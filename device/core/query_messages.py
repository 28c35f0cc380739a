"""What nodes say to each other about questions, inside sealed envelopes: six kinds, each a CBOR array.

| kind | name   | body                                                                       | re          |
|------|--------|----------------------------------------------------------------------------|-------------|
| 17   | QUERY  | [digest, [turn…] or text to complete, sampling, begun or null, wish or null] |           |
| 18   | TOKENS | [n, [ids], text, [logprob…]]; n counts the TOKENS of an answer from 0      | the QUERY's |
| 19   | DONE   | [reason, prompt tokens, completion tokens, prefill ms, decode ms]          | the QUERY's |
| 20   | FAILED | [code, text]                                                               | the QUERY's |
| 21   | CANCEL | []                                                                         | the QUERY's |
| 22   | QUEUED | [place]; 1 is the next                                                     | the QUERY's |

turn = [role, content], or ["assistant", content, [[id, name, arguments]…]], or ["tool", content, id of the call]
sampling = [temperature, top_k, top_p, min_p, repetition, presence, frequency penalty, seed, max tokens, [stops]]
begun = [[ids], characters]: an answer that another node began, and how much of its text the asker has
wish = [[tools], tool choice, schema or null, logprobs or null]
logprob = [token, logprob, [[token, logprob]…]], as many as ids where the question wished for them, else none

Fractions and logprobs are in millionths: the encoding has no floats.  QUEUED tells a waiting question its
place, whenever that is another; empty TOKENS say "still at it" in between, and while a prompt is read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, get_args

from device.api_of_models import HeldModel
from device.core.question_items import MAX_QUESTION_ITEMS, MILLIONTHS, all_of, read_request, written_request
from device.errors import NeighbourMisbehavedError
from device.parsing import one_line
from mesh.core.codec import MAX_ITEMS, Item, decode_array, encode
from mesh.errors import MalformedError
from models.core.request import (
    MAX_LOGPROBS,
    MAX_TOKEN_BYTES,
    MIN_LOGPROB,
    GenerationFinished,
    GenerationRequest,
    TokenLogprob,
    TokensGenerated,
)
from models.core.worker_protocol import MAX_IDS, MAX_LOGPROBS_AT_ONCE, MAX_TEXT_CHARACTERS
from models.errors import InvalidRequestError

MAX_STATUS_BYTES: Final = 15 * 1024  # of an announcement's body (mesh/core/announcements.py)
MAX_QUERY_BYTES: Final = 1024 * 1024
MAX_ANSWER_BYTES: Final = 64 * 1024
MAX_NODE_NAME_CHARACTERS: Final = 63
MAX_MODELS: Final = 256  # told to a neighbour
MAX_MODEL_ITEMS: Final = 16  # of each; six are known
MAX_MODEL_NAME_CHARACTERS: Final = 64
MAX_LICENCE_CHARACTERS: Final = 32  # a longer expression is cut; the card has it whole
MAX_MODEL_BYTES: Final = 2**53
MAX_FAILURE_CHARACTERS: Final = 500
MAX_COUNT: Final = 2**31
MAX_MILLISECONDS: Final = 2**40
DIGEST_BYTES: Final = 32

FailureCode = Literal[
    "no_such_model", "prompt_too_long", "invalid_request", "busy", "stopping", "engine_failed", "unforeseen"
]
FAILURES: Final[tuple[FailureCode, ...]] = get_args(FailureCode)


@dataclass(frozen=True, kw_only=True)
class Status:
    """What a node is called and holds, announced to every member.

    `[node name, [[model name, digest, bytes, licence, whether it is passed on]…]]`; what a later version tells besides
    of a model is not looked at.
    """

    name: str
    models: tuple[HeldModel, ...]

    @property
    def told(self) -> tuple[HeldModel, ...]:
        """The models that the body has room for, the first ones: at least 100 of them."""
        models = self.models[:MAX_MODELS]
        while len(self._body(models)) > MAX_STATUS_BYTES:
            models = models[:-1]
        return models

    def to_body(self) -> bytes:
        """Write the body; models beyond the bounds are left out."""
        return self._body(self.told)

    def _body(self, models: Sequence[HeldModel]) -> bytes:
        items: list[Item] = [
            [m.name, bytes.fromhex(m.digest), m.size_bytes, _cut(m.licence), m.passed_on] for m in models
        ]
        return encode([self.name, items])

    @classmethod
    def parse(cls, body: bytes) -> "Status":
        """Read what a member announced.  Raises NeighbourMisbehavedError."""
        try:
            status = _status(decode_array(body, max_bytes=MAX_STATUS_BYTES, max_items=3 + MAX_MODEL_ITEMS * MAX_MODELS))
        except MalformedError as error:
            raise NeighbourMisbehavedError(f"a status: {error}") from error
        if status is None:
            raise NeighbourMisbehavedError("a status that is none")
        return status


@dataclass(frozen=True)
class Query:
    """A question for the model with that digest, perhaps with the beginning of its answer."""

    KIND: ClassVar[int] = 17
    digest: str
    request: GenerationRequest

    def to_body(self) -> bytes:
        """Write the body; fractions are rounded to millionths."""
        return encode([bytes.fromhex(self.digest), *written_request(self.request)])


@dataclass(frozen=True)
class Tokens:
    """The next part of an answer; n is its place among the TOKENS of this answer."""

    KIND: ClassVar[int] = 18
    n: int
    tokens: TokensGenerated

    def to_body(self) -> bytes:
        """Write the body."""
        logprobs: list[Item] = [
            [*_written_pair(one.token, one.logprob), [_written_pair(*other) for other in one.top]]
            for one in self.tokens.logprobs
        ]
        return encode([self.n, list(self.tokens.ids), self.tokens.text, logprobs])


@dataclass(frozen=True)
class Done:
    """The end of an answer."""

    KIND: ClassVar[int] = 19
    finished: GenerationFinished

    def to_body(self) -> bytes:
        """Write the body; times in whole milliseconds."""
        end = self.finished
        times = [round(end.prefill_s * 1000), round(end.decode_s * 1000)]
        return encode([end.reason, end.prompt_tokens, end.completion_tokens, *times])


@dataclass(frozen=True)
class Failed:
    """There is no answer, or no more of it, and why."""

    KIND: ClassVar[int] = 20
    code: FailureCode
    text: str

    def to_body(self) -> bytes:
        """Write the body; the text is cut to what a reader takes."""
        return encode([self.code, self.text[:MAX_FAILURE_CHARACTERS]])


@dataclass(frozen=True)
class Cancel:
    """The asker needs no more of this answer."""

    KIND: ClassVar[int] = 21

    def to_body(self) -> bytes:
        """Write the body."""
        return encode([])


@dataclass(frozen=True)
class Queued:
    """The question waits for its turn; place 1 is the next."""

    KIND: ClassVar[int] = 22
    place: int

    def to_body(self) -> bytes:
        """Write the body."""
        return encode([self.place])


QueryMessage = Query | Tokens | Done | Failed | Cancel | Queued


def parse_message(kind: int, body: bytes) -> QueryMessage | None:
    """Read a neighbour's message; None for a kind this version does not know.

    Raises NeighbourMisbehavedError for a body that is none of its kind.
    """
    if kind not in _KINDS:
        return None
    limit, max_items, parse = _KINDS[kind]
    try:
        message = parse(decode_array(body, max_bytes=limit, max_items=max_items))
    except MalformedError as error:
        raise NeighbourMisbehavedError(f"a message of kind {kind}: {error}") from error
    except InvalidRequestError as error:
        raise NeighbourMisbehavedError(f"a question that cannot be asked: {error}") from error
    if message is None:
        raise NeighbourMisbehavedError(f"a message of kind {kind} that is none")
    return message


def _status(fields: list[Item]) -> Status | None:
    match fields:
        case [str(name), list(items)] if len(items) <= MAX_MODELS and len(name) <= MAX_NODE_NAME_CHARACTERS:
            models = [_model(item) for item in items]
            return Status(name=one_line(name), models=all_of(models))
    return None


def _cut(licence: str) -> str:
    return licence if len(licence) <= MAX_LICENCE_CHARACTERS else f"{licence[: MAX_LICENCE_CHARACTERS - 1]}…"


def _model(item: Item) -> HeldModel | None:
    match item:
        case [str(name), bytes(digest), int(size), str(licence), bool(passed_on), *_] if (
            1 <= len(name) <= MAX_MODEL_NAME_CHARACTERS
            and name.isprintable()
            and len(digest) == DIGEST_BYTES
            and _is_count(size, MAX_MODEL_BYTES)
            and len(licence) <= MAX_LICENCE_CHARACTERS
            and licence.isprintable()
        ):
            return HeldModel(name=name, digest=digest.hex(), size_bytes=size, licence=licence, passed_on=passed_on)
    return None


def _query(fields: list[Item]) -> Query | None:
    match fields:
        case [bytes(digest), *items] if len(digest) == DIGEST_BYTES:
            return Query(digest.hex(), read_request(items))
    return None


def _written_pair(token: bytes, logprob: float) -> list[Item]:
    return [token, round(logprob * MILLIONTHS)]


def _pair(item: Item) -> tuple[bytes, float] | None:
    match item:
        case [bytes(token), int(logprob)] if (
            len(token) <= MAX_TOKEN_BYTES and type(logprob) is int and MIN_LOGPROB * MILLIONTHS <= logprob <= 0
        ):
            return token, logprob / MILLIONTHS
    return None


def _logprob(item: Item) -> TokenLogprob | None:
    match item:
        case [token, logprob, list(top)] if len(top) <= MAX_LOGPROBS:
            chosen, *others = all_of([_pair([token, logprob]), *map(_pair, top)])
            return TokenLogprob(*chosen, tuple(others))
    return None


def _tokens(fields: list[Item]) -> Tokens | None:
    match fields:
        case [int(n), list(ids), str(text), list(logprobs)] if (
            _is_count(n, MAX_COUNT)
            and len(ids) <= MAX_IDS
            and len(text) <= MAX_TEXT_CHARACTERS
            and len(logprobs) <= MAX_LOGPROBS_AT_ONCE
        ):
            numbers = all_of([item if isinstance(item, int) and _is_count(item, MAX_COUNT) else None for item in ids])
            return Tokens(n, TokensGenerated(numbers, text, all_of([_logprob(item) for item in logprobs])))
    return None


def _done(fields: list[Item]) -> Done | None:
    match fields:
        case [("stop" | "length" | "cancelled") as reason, int(prompt), int(completion), int(prefill), int(decode)] if (
            _is_count(prompt, MAX_COUNT)
            and _is_count(completion, MAX_COUNT)
            and _is_count(prefill, MAX_MILLISECONDS)
            and _is_count(decode, MAX_MILLISECONDS)
        ):
            return Done(
                GenerationFinished(
                    reason=reason,
                    prompt_tokens=prompt,
                    completion_tokens=completion,
                    prefill_s=prefill / 1000,
                    decode_s=decode / 1000,
                )
            )
    return None


def _failed(fields: list[Item]) -> Failed | None:
    match fields:
        case [str(code), str(text)] if len(text) <= MAX_FAILURE_CHARACTERS:
            known = [failure for failure in FAILURES if failure == code]
            return Failed(known[0], one_line(text)) if known else None
    return None


def _cancel(fields: list[Item]) -> Cancel | None:
    return None if fields else Cancel()


def _queued(fields: list[Item]) -> Queued | None:
    match fields:
        case [int(place)] if _is_count(place, MAX_COUNT) and place:
            return Queued(place)
    return None


_KINDS: Final[Mapping[int, tuple[int, int, Callable[[list[Item]], QueryMessage | None]]]] = {
    Query.KIND: (MAX_QUERY_BYTES, MAX_QUESTION_ITEMS, _query),
    Tokens.KIND: (MAX_ANSWER_BYTES, MAX_ITEMS, _tokens),
    Done.KIND: (MAX_ANSWER_BYTES, MAX_ITEMS, _done),
    Failed.KIND: (MAX_ANSWER_BYTES, MAX_ITEMS, _failed),
    Cancel.KIND: (MAX_ANSWER_BYTES, MAX_ITEMS, _cancel),
    Queued.KIND: (MAX_ANSWER_BYTES, MAX_ITEMS, _queued),
}


def _is_count(value: int, top: int) -> bool:
    return type(value) is int and 0 <= value <= top
