"""What the daemon and the engine's process say to each other: frozen values, one JSON object a line.

Both sides import this module and nothing of each other.  Every line is parsed strictly and bounded, in both
directions: the daemon does not trust a process that has read a stranger's model file.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from models.core.request import (
    MAX_LOGPROBS,
    MAX_TOKEN_BYTES,
    MAX_TOKEN_ID,
    MIN_LOGPROB,
    GenerationFinished,
    GenerationRequest,
    Message,
    SamplingParams,
    TokenLogprob,
    TokensGenerated,
    ToolCall,
    is_count,
    is_number,
    is_text,
)
from models.errors import ModelsError, WorkerProtocolError, rebuild

MAX_COMMAND_BYTES: Final = 4 * 1024 * 1024  # a prompt at its bound, every character escaped to six
MAX_REPORT_BYTES: Final = 128 * 1024
MAX_TEXT_CHARACTERS: Final = 4 * 1024  # of one event; up to twelve bytes each when escaped
MAX_IDS: Final = 1024
MAX_LOGPROBS_AT_ONCE: Final = 8  # of one event: with all alternatives, in hexadecimal, half a report
MAX_INT: Final = 2**53  # the integers every JSON reader keeps exact
MAX_TEMPLATE_CHARACTERS: Final = 64 * 1024
MAX_PATH_CHARACTERS: Final = 4096
MAX_THREADS: Final = 1024
MAX_SLOTS: Final = 64
MAX_SCOPE_CHARACTERS: Final = 256

KvCache = Literal["int8", "float32"]
"""How keys and values are kept."""

ERROR_ARGUMENTS: Final[Mapping[str, tuple[type, ...]]] = {
    "PromptTooLongError": (int, int),
    "NotEnoughSpaceError": (int, int, str),
    "NotEnoughMemoryError": (int, int, int, int),
}  # every other error carries its message alone


@dataclass(frozen=True)
class Convert:
    """Turn a GGUF into its graph inside `graphs`; answered by Progressed..., then Ready."""

    gguf: str
    graphs: str
    threads: int = 1  # of the run that measures it


@dataclass(frozen=True, kw_only=True)
class Load:
    """Load the graph of `gguf` that a Convert left in `graphs`; answered by Ready or GraphMissing."""

    gguf: str
    graphs: str
    template: str | None  # in place of the GGUF's own
    threads: int
    context_tokens: int  # 0 = what the model knows, as far as the memory reaches
    slots: int  # answers at a time
    prefix_bytes: int  # of keys and values kept for questions that begin alike
    kv_cache: KvCache = "int8"


@dataclass(frozen=True)
class Generate:
    """Answer a request with the loaded model; answered by TokensGenerated..., then GenerationFinished.

    Several at a time are answered side by side.  scope: whose questions may share what was computed for this one.
    """

    request: GenerationRequest
    scope: str = ""


@dataclass(frozen=True)
class Cancel:
    """Finish the running generation early; it still ends with GenerationFinished."""


@dataclass(frozen=True)
class Ready:
    """The command was carried out."""


@dataclass(frozen=True)
class GraphMissing:
    """There is no graph of that GGUF from this version of the converter, or not all that was measured of it."""


@dataclass(frozen=True)
class Progressed:
    """How far a conversion has come, 0 to 1."""

    fraction: float


@dataclass(frozen=True)
class Failed:
    """The command failed; the process goes on."""

    error: ModelsError


Command = Convert | Load | Generate | Cancel
Event = Ready | GraphMissing | Progressed | TokensGenerated | GenerationFinished | Failed


@dataclass(frozen=True)
class Order:
    """A command and the number its events will carry."""

    number: int
    command: Command


@dataclass(frozen=True)
class Report:
    """An event and the number of the order it belongs to."""

    number: int
    event: Event


def encode_order(order: Order) -> bytes:
    """Write one line for the worker."""
    command = order.command
    fields: dict[str, object]
    match command:
        case Generate(request, scope):
            fields = {field: getattr(request, field) for field in _REQUEST_FIELDS}
            fields |= {"messages": [_turn(message) for message in request.messages]}
            fields |= {"sampling": asdict(request.sampling), "scope": scope}
        case _:
            fields = asdict(command)
    return _line({"n": order.number, "op": type(command).__name__, **fields})


def parse_order(line: bytes) -> Order:
    """Read one line from the daemon.

    Raises WorkerProtocolError for what is no order; a Generate's values are checked again and raise
    InvalidRequestError.
    """
    number, kind, fields = _fields(line, "op", MAX_COMMAND_BYTES)
    match kind, fields:
        case "Convert", {"gguf": str(gguf), "graphs": str(graphs), "threads": threads, **rest} if not rest and is_count(
            threads, MAX_THREADS
        ):
            return Order(number, Convert(_path(gguf), _path(graphs), threads))
        case "Load", {
            "gguf": str(gguf),
            "graphs": str(graphs),
            "template": (str() | None) as template,
            "threads": threads,
            "context_tokens": context,
            "slots": slots,
            "prefix_bytes": prefix_bytes,
            "kv_cache": ("int8" | "float32") as kv_cache,
            **rest,
        } if (
            not rest
            and len(template or "") <= MAX_TEMPLATE_CHARACTERS
            and is_count(threads, MAX_THREADS)
            and is_count(context, MAX_INT)
            and is_count(slots, MAX_SLOTS)
            and slots
            and is_count(prefix_bytes, MAX_INT)
        ):
            load = Load(
                gguf=_path(gguf),
                graphs=_path(graphs),
                template=template,
                threads=threads,
                context_tokens=context,
                slots=slots,
                prefix_bytes=prefix_bytes,
                kv_cache=kv_cache,
            )
            return Order(number, load)
        case "Generate", {
            "messages": list(messages),
            "sampling": dict(sampling),
            "answered": list(answered),
            "tools": list(tools),
            "scope": str(scope),
            **rest,
        } if rest.keys() == _REQUEST_FIELDS - {"messages", "sampling", "answered", "tools"} and (
            len(scope) <= MAX_SCOPE_CHARACTERS
        ):
            turns, params = _messages(messages), _sampling(sampling)
            request = GenerationRequest(turns, params, tuple(answered), tools=tuple(tools), **rest)
            return Order(number, Generate(request, scope))
        case "Cancel", {**rest} if not rest:
            return Order(number, Cancel())
    raise WorkerProtocolError(f"an order that is none: {kind[:40]}")


def encode_report(report: Report) -> bytes:
    """Write one line for the daemon; texts and ids are cut to what a line may hold."""
    event = report.event
    match event:
        case Failed(error):
            fields: dict[str, object] = {"code": error.code, "args": _arguments(error)}
        case TokensGenerated(ids, text, logprobs):
            fields = {"ids": ids[:MAX_IDS], "text": _printable(text)}
            if logprobs:
                fields |= {"logprobs": [_likelihood(one) for one in logprobs[:MAX_LOGPROBS_AT_ONCE]]}
        case _:
            fields = asdict(event)
    return _line({"n": report.number, "event": type(event).__name__, **fields})


def parse_report(line: bytes) -> Report:
    """Read one line from the worker.  Raises WorkerProtocolError for anything but a well-formed report."""
    number, kind, fields = _fields(line, "event", MAX_REPORT_BYTES)
    parse = _EVENTS.get(kind)
    event = parse(fields) if parse else None
    if event is None:
        raise WorkerProtocolError(f"a report that is none: {kind[:40]}")
    return Report(number, event)


def _progressed(fields: dict[str, Any]) -> Progressed | None:
    match fields:
        case {"fraction": fraction, **rest} if not rest and is_number(fraction, 0, 1):
            return Progressed(float(fraction))
    return None


def _tokens_generated(fields: dict[str, Any]) -> TokensGenerated | None:
    match fields:
        case {"ids": list(ids), "text": str(text), **rest} if (
            rest.keys() <= {"logprobs"}
            and len(ids) <= MAX_IDS
            and all(is_count(item, MAX_TOKEN_ID) for item in ids)
            and len(text) <= MAX_TEXT_CHARACTERS
            and is_text(text)
        ):
            logprobs = _logprobs(rest.get("logprobs", []))
            return None if logprobs is None else TokensGenerated(tuple(ids), text, logprobs)
    return None


def _logprobs(items: object) -> tuple[TokenLogprob, ...] | None:
    if not isinstance(items, list) or len(items) > MAX_LOGPROBS_AT_ONCE:
        return None
    found = []
    for item in items:
        match item:
            case [token, logprob, list(top)] if len(top) <= MAX_LOGPROBS:
                pairs = [_pair(one) for one in ([token, logprob], *top)]
                known = tuple(pair for pair in pairs if pair is not None)
                if len(known) == len(pairs):
                    found.append(TokenLogprob(*known[0], known[1:]))
    return tuple(found) if len(found) == len(items) else None


def _pair(item: object) -> tuple[bytes, float] | None:
    """Read a token's bytes and its log-probability."""
    match item:
        case [str(token), logprob] if len(token) <= 2 * MAX_TOKEN_BYTES and is_number(logprob, MIN_LOGPROB, 0):
            try:
                return bytes.fromhex(token), float(logprob)
            except ValueError:
                return None
    return None


def _generation_finished(fields: dict[str, Any]) -> GenerationFinished | None:
    match fields:
        case {
            "reason": ("stop" | "length" | "cancelled") as reason,
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "prefill_s": prefill_s,
            "decode_s": decode_s,
            "cached_tokens": cached,
            **rest,
        } if (
            not rest
            and is_count(prompt, MAX_INT)
            and is_count(completion, MAX_INT)
            and is_count(cached, MAX_INT)
            and is_number(prefill_s, 0, MAX_INT)
            and is_number(decode_s, 0, MAX_INT)
        ):
            return GenerationFinished(
                reason=reason,
                prompt_tokens=prompt,
                completion_tokens=completion,
                prefill_s=float(prefill_s),
                decode_s=float(decode_s),
                cached_tokens=cached,
            )
    return None


def _failed(fields: dict[str, Any]) -> Failed | None:
    match fields:
        case {"code": str(code), "args": list(args), **rest} if (
            not rest
            and tuple(map(type, args)) == ERROR_ARGUMENTS.get(code, (str,))
            and all(len(str(value)) <= MAX_TEXT_CHARACTERS and is_text(str(value)) for value in args)
        ):
            return Failed(rebuild(code, args))
    return None


_EVENTS: Final[Mapping[str, Callable[[dict[str, Any]], Event | None]]] = {
    "Ready": lambda fields: None if fields else Ready(),
    "GraphMissing": lambda fields: None if fields else GraphMissing(),
    "Progressed": _progressed,
    "TokensGenerated": _tokens_generated,
    "GenerationFinished": _generation_finished,
    "Failed": _failed,
}


_REQUEST_FIELDS: Final = frozenset(GenerationRequest.__dataclass_fields__)


def _turn(message: Message) -> list[object]:
    calls = [[call.id, call.name, call.arguments] for call in message.tool_calls]
    return [message.role, message.content, calls, message.tool_call_id]


def _likelihood(one: TokenLogprob) -> list[object]:
    top = [[token.hex(), logprob] for token, logprob in one.top[:MAX_LOGPROBS]]
    return [one.token.hex(), one.logprob, top]


def _messages(messages: list[object]) -> tuple[Message, ...]:
    turns = []
    for message in messages:
        match message:
            case [str(role), str(content), list(calls), str(call_id)]:
                turns.append(Message(role, content, tuple(map(_call, calls)), call_id))
            case _:
                raise WorkerProtocolError("a message that is none")
    return tuple(turns)


def _call(call: object) -> ToolCall:
    match call:
        case [str(call_id), str(name), str(arguments)]:
            return ToolCall(call_id, name, arguments)
    raise WorkerProtocolError("a tool call that is none")


def _sampling(sampling: dict[str, Any]) -> SamplingParams:
    match sampling:
        case {"stop": list(stop), **rest} if rest.keys() | {"stop"} == SamplingParams.__dataclass_fields__.keys():
            return SamplingParams(stop=tuple(stop), **rest)
    raise WorkerProtocolError("sampling parameters that are none")


def _fields(line: bytes, key: str, limit: int) -> tuple[int, str, dict[str, Any]]:
    """Take the order's number and the kind out of a line; the rest is what the kind must explain."""
    if len(line) > limit:
        raise WorkerProtocolError(f"a line of {len(line)} bytes")
    try:
        value: object = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise WorkerProtocolError("a line that is no JSON") from error
    if isinstance(value, dict):
        number, kind = value.pop("n", None), value.pop(key, None)
        if is_count(number, MAX_INT) and isinstance(kind, str):
            return number, kind, value
    raise WorkerProtocolError("a line without number and kind")


def _line(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def _arguments(error: ModelsError) -> list[int | str]:
    """What the other side builds the error from: its own arguments if it has several, else its message."""
    values = error.args if error.code in ERROR_ARGUMENTS else (str(error),)
    return [value if isinstance(value, int) else _printable(str(value)) for value in values]


def _printable(text: str) -> str:
    return text[:MAX_TEXT_CHARACTERS].encode(errors="replace").decode()


def _path(text: str) -> str:
    if not 1 <= len(text) <= MAX_PATH_CHARACTERS or "\0" in text:
        raise WorkerProtocolError("a path that is none")
    return text
