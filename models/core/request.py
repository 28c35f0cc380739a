"""What is asked of a model and what it gives back: frozen values, checked where they are made."""

import json
import re
from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn, TypeGuard, get_args

from models.errors import InvalidRequestError

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "cancelled"]

MAX_MESSAGES: Final = 1024
MAX_PROMPT_BYTES: Final = 512 * 1024  # UTF-8, all messages and tools together; far beyond a small board's context
MAX_TOOLS: Final = 128
MAX_TOOL_CALLS: Final = 1024  # in all messages of a request together
MAX_TOOL_CALL_ID_CHARACTERS: Final = 128
MAX_SCHEMA_BYTES: Final = 64 * 1024
MAX_JSON_DEPTH: Final = 64  # of tools, arguments and schemas
MAX_NEW_TOKENS: Final = 32_768
MAX_STOPS: Final = 8
MAX_STOP_CHARACTERS: Final = 256
MAX_TOP_K: Final = 1_000_000
MAX_TEMPERATURE: Final = 5.0
MIN_REPETITION_PENALTY: Final = 0.1
MAX_REPETITION_PENALTY: Final = 10.0
MAX_ADDED_PENALTY: Final = 2.0  # of presence_penalty and frequency_penalty, either way
MAX_LOGPROBS: Final = 20  # alternatives of a token
MAX_TOKEN_BYTES: Final = 128  # of a token's spelling beside its log-probability; longer ones are cut
MIN_LOGPROB: Final = -9999.0  # what is even less likely counts as this
MAX_SEED: Final = 2**63 - 1
MAX_TOKEN_ID: Final = 2**31
MAX_ANSWER_CHARACTERS: Final = 64 * MAX_NEW_TOKENS + 4096  # a token is rarely more than a word
TOOL_CHOICES: Final = ("auto", "none", "required")
_TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True)
class ToolCall:
    """A tool that a model wants to be used.  arguments: a JSON object, as text.  Raises InvalidRequestError."""

    id: str
    name: str
    arguments: str

    def __post_init__(self) -> None:
        _require(
            is_text(self.id) and 1 <= len(self.id) <= MAX_TOOL_CALL_ID_CHARACTERS,
            f"tool_calls: an id of 1 to {MAX_TOOL_CALL_ID_CHARACTERS} characters",
        )
        _require(is_tool_name(self.name), "tool_calls: a name of 1 to 64 letters, digits, _, - and .")
        _require(json_object(self.arguments) is not None, "tool_calls: arguments are a JSON object, as text")


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.  Raises InvalidRequestError.

    tool_calls: what an assistant's turn asks for; tool_call_id: which of these calls a tool's turn answers.
    """

    role: str
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""

    def __post_init__(self) -> None:
        if self.role not in get_args(Role):
            raise InvalidRequestError(f"role: one of {', '.join(get_args(Role))}")
        _require(is_text(self.content), "content: text that UTF-8 can write")
        _require(not self.tool_calls or self.role == "assistant", "tool_calls: only in an assistant's turn")
        _require(
            is_text(self.tool_call_id) and len(self.tool_call_id) <= MAX_TOOL_CALL_ID_CHARACTERS,
            f"tool_call_id: up to {MAX_TOOL_CALL_ID_CHARACTERS} characters",
        )
        _require(not self.tool_call_id or self.role == "tool", "tool_call_id: only in a tool's turn")

    @property
    def size(self) -> int:
        """Bytes of all its texts."""
        calls = sum(len(call.id.encode()) + len(call.name) + len(call.arguments.encode()) for call in self.tool_calls)
        return len(self.content.encode()) + len(self.tool_call_id.encode()) + calls


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How the next token is chosen and when to stop.  Raises InvalidRequestError naming the value and its range."""

    temperature: float = 0.0  # 0 = the most likely token
    top_k: int = 0  # 0 = no limit
    top_p: float = 1.0
    min_p: float = 0.0  # part of the most likely token's probability that another needs
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int = 0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require(is_number(self.temperature, 0, MAX_TEMPERATURE), f"temperature: 0 to {MAX_TEMPERATURE:g}")
        _require(is_count(self.top_k, MAX_TOP_K), f"top_k: 0 to {MAX_TOP_K}")
        _require(is_number(self.top_p, 0, 1) and self.top_p > 0, "top_p: above 0, up to 1")
        _require(is_number(self.min_p, 0, 1), "min_p: 0 to 1")
        _require(
            is_number(self.repetition_penalty, MIN_REPETITION_PENALTY, MAX_REPETITION_PENALTY),
            f"repetition_penalty: {MIN_REPETITION_PENALTY:g} to {MAX_REPETITION_PENALTY:g}",
        )
        for name, value in (("presence", self.presence_penalty), ("frequency", self.frequency_penalty)):
            _require(
                is_number(value, -MAX_ADDED_PENALTY, MAX_ADDED_PENALTY),
                f"{name}_penalty: -{MAX_ADDED_PENALTY:g} to {MAX_ADDED_PENALTY:g}",
            )
        _require(is_count(self.seed, MAX_SEED), "seed: 0 to 2^63 - 1")
        _require(
            is_count(self.max_tokens, MAX_NEW_TOKENS) and self.max_tokens > 0, f"max_tokens: 1 to {MAX_NEW_TOKENS}"
        )
        _require(
            isinstance(self.stop, tuple)
            and len(self.stop) <= MAX_STOPS
            and all(is_text(text) and 1 <= len(text) <= MAX_STOP_CHARACTERS for text in self.stop),
            f"stop: up to {MAX_STOPS} texts of 1 to {MAX_STOP_CHARACTERS} characters",
        )


@dataclass(frozen=True)
class GenerationRequest:
    """A conversation to continue, or a text to complete, and how.  Raises InvalidRequestError.

    answered: ids of the tokens that the answer begins with, where another engine gave its first part; max_tokens
    counts them too.  characters: how much of the answer's text the asker has; it is not given out again.
    prompt: raw text to complete, in place of messages.
    tools: functions that the model may call, each the JSON text of OpenAI's {"type": "function", "function": {…}};
    tool_choice: auto, none, required, or the name of the one to be called.
    schema: a JSON Schema, as text, which the answer must fit.
    logprobs: how many alternatives to report beside each token's log-probability; None reports none of it.
    """

    messages: tuple[Message, ...]
    sampling: SamplingParams
    answered: tuple[int, ...] = ()
    characters: int = 0
    prompt: str | None = None
    tools: tuple[str, ...] = ()
    tool_choice: str = "auto"
    schema: str | None = None
    logprobs: int | None = None

    def __post_init__(self) -> None:
        if self.prompt is None:
            _require(1 <= len(self.messages) <= MAX_MESSAGES, f"messages: 1 to {MAX_MESSAGES}")
        else:
            _require(is_text(self.prompt), "prompt: text that UTF-8 can write")
            _require(not self.messages, "prompt: in place of messages, not beside them")
            _require(not self.tools, "tools: only with messages")
        self._check_tools()
        size = sum(message.size for message in self.messages)
        size += sum(len(text.encode()) for text in (*self.tools, self.prompt or ""))
        _require(
            size <= MAX_PROMPT_BYTES,
            f"{'messages' if self.prompt is None else 'prompt'}: {size} bytes, at most {MAX_PROMPT_BYTES}",
        )
        _require(
            isinstance(self.answered, tuple)
            and len(self.answered) <= self.sampling.max_tokens
            and all(is_count(token, MAX_TOKEN_ID) for token in self.answered),
            "answered: ids of tokens, max_tokens of them at most",
        )
        _require(is_count(self.characters, MAX_ANSWER_CHARACTERS), f"characters: 0 to {MAX_ANSWER_CHARACTERS}")
        _require(self.logprobs is None or is_count(self.logprobs, MAX_LOGPROBS), f"logprobs: 0 to {MAX_LOGPROBS}")
        self._check_schema()

    def _check_tools(self) -> None:
        calls = sum(len(message.tool_calls) for message in self.messages)
        _require(calls <= MAX_TOOL_CALLS, f"messages: {calls} tool calls, at most {MAX_TOOL_CALLS}")
        _require(isinstance(self.tools, tuple) and len(self.tools) <= MAX_TOOLS, f"tools: up to {MAX_TOOLS}")
        names = [tool_name(tool) for tool in self.tools]
        _require(len(set(names)) == len(names), "tools: a name twice")
        _require(
            self.tool_choice in ("auto", "none")
            or (self.tool_choice == "required" and bool(names))
            or self.tool_choice in names,
            "tool_choice: auto, none, required, or the name of one of the tools",
        )

    def _check_schema(self) -> None:
        if self.schema is not None:
            _require(json_object(self.schema) is not None, "schema: a JSON object, as text")
            size = len(self.schema.encode())
            _require(size <= MAX_SCHEMA_BYTES, f"schema: {size} bytes, at most {MAX_SCHEMA_BYTES}")
            _require(self.tool_choice in ("auto", "none"), "schema: not beside a call that is required")


@dataclass(frozen=True)
class TokenLogprob:
    """How likely a token was, by the model alone: natural logarithms, in whole millionths.

    token: its bytes, the name of a control token; top: the most likely tokens in its place, the likeliest first.
    """

    token: bytes
    logprob: float
    top: tuple[tuple[bytes, float], ...] = ()


@dataclass(frozen=True)
class TokensGenerated:
    """New tokens and the text they complete; the text is empty while a character is unfinished.

    logprobs: one for each id where the request wants them, else none.
    """

    ids: tuple[int, ...]
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GenerationFinished:
    """The end of an answer; always the last event.  It counts the whole answer, and times the part made here.

    cached_tokens: how many at the prompt's beginning had been computed before.
    """

    reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    prefill_s: float
    decode_s: float
    cached_tokens: int = 0


GenerationEvent = TokensGenerated | GenerationFinished


def is_count(value: object, top: int) -> TypeGuard[int]:
    """Whether it is an integer of 0 to `top`."""
    return type(value) is int and 0 <= value <= top


def is_number(value: object, low: float, high: float) -> TypeGuard[int | float]:
    """Whether it is a number in this range."""
    return isinstance(value, int | float) and type(value) is not bool and low <= value <= high  # NaN fits no range


def is_text(value: object) -> bool:
    """Whether it is a str without lone surrogates, which JSON can smuggle in and nothing can write out."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def is_tool_name(value: object) -> TypeGuard[str]:
    """Whether a tool may be called so: OpenAI's letters, and the dot that other servers allow."""
    return isinstance(value, str) and _TOOL_NAME.fullmatch(value) is not None and value not in TOOL_CHOICES


def tool_name(tool: object) -> str:
    """Read the name of a tool from its JSON text.  Raises InvalidRequestError for what is no function's description."""
    match json_object(tool):
        case {"type": "function", "function": {"name": name, **rest}} if is_tool_name(name) and isinstance(
            rest.get("parameters"), dict | None
        ):
            return name
    raise InvalidRequestError(
        "tools: each a function with a name of 1 to 64 letters, digits, _, - and ., and parameters that are an object"
    )


def json_object(text: object) -> dict[str, Any] | None:
    """Read a JSON object from its text; None for what is none, too deep, or not to be written as JSON in UTF-8."""
    if not isinstance(text, str) or not is_text(text):
        return None
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        _require_shallow(value, MAX_JSON_DEPTH)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # \ud800 hides in an escape, infinity in 1e999
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _require_shallow(value: object, depth: int) -> None:
    if depth < 0:
        raise ValueError("nested too deep")
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _require_shallow(item, depth - 1)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _require(fits: bool, message: str) -> None:  # noqa: FBT001  the condition is the point
    if not fits:
        raise InvalidRequestError(message)
