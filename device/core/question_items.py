"""A question as items of a CBOR array: what is asked, how to choose tokens, how the answer begins, what is wished.

device/core/query_messages.py has the table of what each of them looks like.
"""

from typing import Final, TypeVar

from mesh.core.codec import Item
from mesh.errors import MalformedError
from models.core.request import (
    MAX_MESSAGES,
    MAX_NEW_TOKENS,
    MAX_TOOL_CALLS,
    MAX_TOOLS,
    GenerationRequest,
    Message,
    SamplingParams,
    ToolCall,
)

MAX_QUESTION_ITEMS: Final = MAX_NEW_TOKENS + 4 * (MAX_MESSAGES + MAX_TOOL_CALLS) + MAX_TOOLS + 64  # all there can be
MILLIONTHS: Final = 1_000_000
NUMBERS_OF_SAMPLING: Final = 9
TOOL: Final = "tool"
NO_WISH: Final[list[Item]] = [[], "auto", None, None]

T = TypeVar("T")


def written_request(request: GenerationRequest) -> list[Item]:
    """Write a question; fractions are rounded to millionths."""
    asked: Item = [_written_turn(message) for message in request.messages]
    if request.prompt is not None:
        asked = request.prompt
    begun: Item = None
    if request.answered or request.characters:
        begun = [list(request.answered), request.characters]
    wish: Item = [list(request.tools), request.tool_choice, request.schema, request.logprobs]
    return [asked, _written_sampling(request.sampling), begun, None if wish == NO_WISH else wish]


def read_request(items: list[Item]) -> GenerationRequest:
    """Read a question.  Raises MalformedError, InvalidRequestError."""
    match items:
        case [asked, list(sampling), begun, wish] if wish != NO_WISH:
            messages, prompt = _asked(asked)
            answered, characters = _begun(begun)
            tools, choice, schema, logprobs = _wish(NO_WISH if wish is None else wish)
            return GenerationRequest(
                messages,
                _sampling(sampling),
                answered,
                characters,
                prompt=prompt,
                tools=tools,
                tool_choice=choice,
                schema=schema,
                logprobs=logprobs,
            )
    raise MalformedError("a question that is none")


def all_of(items: list[T | None]) -> tuple[T, ...]:
    """Take all items or none: one that is malformed spoils the message."""
    found = tuple(item for item in items if item is not None)
    if len(found) != len(items):
        raise MalformedError("one of its parts is malformed")
    return found


def _asked(item: Item) -> tuple[tuple[Message, ...], str | None]:
    """The conversation, or the text to complete."""
    if isinstance(item, str):
        return (), item
    if isinstance(item, list):
        return all_of([_turn(one) for one in item]), None
    raise MalformedError("a question that is neither a conversation nor a text")


def _wish(item: Item) -> tuple[tuple[str, ...], str, str | None, int | None]:
    match item:
        case [list(tools), str(choice), (str() | None) as schema, (int() | None) as logprobs]:
            return _texts(tools), choice, schema, logprobs
    raise MalformedError("a wish that is none")


def _begun(item: Item) -> tuple[tuple[int, ...], int]:
    """The ids and characters of an answer that another node began, none for null."""
    match item:
        case None:
            return (), 0
        case [list(ids), int(characters)] if ids or characters:
            return all_of([token if isinstance(token, int) else None for token in ids]), characters
    raise MalformedError("the beginning of an answer that is none")


def _written_turn(message: Message) -> Item:
    turn: list[Item] = [message.role, message.content]
    if message.tool_calls:
        turn.append([[call.id, call.name, call.arguments] for call in message.tool_calls])
    elif message.role == TOOL:
        turn.append(message.tool_call_id)
    return turn


def _turn(item: Item) -> Message | None:
    match item:
        case [str(role), str(content)] if role != TOOL:
            return Message(role, content)
        case [str(role), str(content), str(call_id)] if role == TOOL:
            return Message(role, content, (), call_id)
        case [str(role), str(content), list(calls)] if calls:
            return Message(role, content, all_of([_call(call) for call in calls]))
    return None


def _call(item: Item) -> ToolCall | None:
    match item:
        case [str(call_id), str(name), str(arguments)]:
            return ToolCall(call_id, name, arguments)
    return None


def _written_sampling(sampling: SamplingParams) -> Item:
    return [
        round(sampling.temperature * MILLIONTHS),
        sampling.top_k,
        max(1, round(sampling.top_p * MILLIONTHS)),
        round(sampling.min_p * MILLIONTHS),
        round(sampling.repetition_penalty * MILLIONTHS),
        round(sampling.presence_penalty * MILLIONTHS),
        round(sampling.frequency_penalty * MILLIONTHS),
        sampling.seed,
        sampling.max_tokens,
        list(sampling.stop),
    ]


def _sampling(values: list[Item]) -> SamplingParams:
    match values:
        case [*numbers, list(stops)] if len(numbers) == NUMBERS_OF_SAMPLING:
            temperature, top_k, top_p, min_p, repetition, presence, frequency, seed, limit = all_of(
                [number if type(number) is int else None for number in numbers]
            )
            return SamplingParams(
                temperature=temperature / MILLIONTHS,
                top_k=top_k,
                top_p=top_p / MILLIONTHS,
                min_p=min_p / MILLIONTHS,
                repetition_penalty=repetition / MILLIONTHS,
                presence_penalty=presence / MILLIONTHS,
                frequency_penalty=frequency / MILLIONTHS,
                seed=seed,
                max_tokens=limit,
                stop=_texts(stops),
            )
    raise MalformedError("sampling values that are none")


def _texts(items: list[Item]) -> tuple[str, ...]:
    return all_of([item if isinstance(item, str) else None for item in items])
