"""What is asked of a model and what it gives back: frozen values, checked where they are made."""

from dataclasses import dataclass
from typing import Final, Literal, TypeGuard, get_args

from models.errors import InvalidRequestError

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "cancelled"]

MAX_MESSAGES: Final = 1024
MAX_PROMPT_BYTES: Final = 512 * 1024  # UTF-8, all messages together; far beyond any context of a small board
MAX_NEW_TOKENS: Final = 32_768
MAX_STOPS: Final = 8
MAX_STOP_CHARACTERS: Final = 256
MAX_TOP_K: Final = 1_000_000
MAX_TEMPERATURE: Final = 5.0
MIN_REPETITION_PENALTY: Final = 0.1
MAX_REPETITION_PENALTY: Final = 10.0
MAX_SEED: Final = 2**63 - 1
MAX_TOKEN_ID: Final = 2**31
MAX_ANSWER_CHARACTERS: Final = 64 * MAX_NEW_TOKENS + 4096  # a token is rarely more than a word


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.  Raises InvalidRequestError."""

    role: str
    content: str

    def __post_init__(self) -> None:
        if self.role not in get_args(Role):
            raise InvalidRequestError(f"role: one of {', '.join(get_args(Role))}")
        _require(is_text(self.content), "content: text that UTF-8 can write")


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How the next token is chosen and when to stop.  Raises InvalidRequestError naming the value and its range."""

    temperature: float = 0.0  # 0 = the most likely token
    top_k: int = 0  # 0 = no limit
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require(is_number(self.temperature, 0, MAX_TEMPERATURE), f"temperature: 0 to {MAX_TEMPERATURE:g}")
        _require(is_count(self.top_k, MAX_TOP_K), f"top_k: 0 to {MAX_TOP_K}")
        _require(is_number(self.top_p, 0, 1) and self.top_p > 0, "top_p: above 0, up to 1")
        _require(
            is_number(self.repetition_penalty, MIN_REPETITION_PENALTY, MAX_REPETITION_PENALTY),
            f"repetition_penalty: {MIN_REPETITION_PENALTY:g} to {MAX_REPETITION_PENALTY:g}",
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
    """A conversation to continue and how.  Raises InvalidRequestError.

    answered: ids of the tokens that the answer begins with, where another engine gave its first part; max_tokens
    counts them too.  characters: how much of the answer's text the asker has; it is not given out again.
    """

    messages: tuple[Message, ...]
    sampling: SamplingParams
    answered: tuple[int, ...] = ()
    characters: int = 0

    def __post_init__(self) -> None:
        _require(1 <= len(self.messages) <= MAX_MESSAGES, f"messages: 1 to {MAX_MESSAGES}")
        size = sum(len(message.content.encode()) for message in self.messages)
        _require(size <= MAX_PROMPT_BYTES, f"messages: {size} bytes, at most {MAX_PROMPT_BYTES}")
        _require(
            isinstance(self.answered, tuple)
            and len(self.answered) <= self.sampling.max_tokens
            and all(is_count(token, MAX_TOKEN_ID) for token in self.answered),
            "answered: ids of tokens, max_tokens of them at most",
        )
        _require(is_count(self.characters, MAX_ANSWER_CHARACTERS), f"characters: 0 to {MAX_ANSWER_CHARACTERS}")


@dataclass(frozen=True)
class TokensGenerated:
    """New tokens and the text they complete; the text is empty while a character is unfinished."""

    ids: tuple[int, ...]
    text: str


@dataclass(frozen=True, kw_only=True)
class GenerationFinished:
    """The end of an answer; always the last event.  It counts the whole answer, and times the part made here."""

    reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    prefill_s: float
    decode_s: float


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


def _require(fits: bool, message: str) -> None:  # noqa: FBT001  the condition is the point
    if not fits:
        raise InvalidRequestError(message)
