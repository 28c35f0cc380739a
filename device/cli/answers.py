"""What `ask`, `chat` and `run` share: the options of an answer, and streaming one to the terminal."""

import argparse
import sys
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any

from device.cli.printing import dash, print_note
from device.wording import answered_by, count, delay, speed

if TYPE_CHECKING:
    from device.api import AnswerDelayed, AnswerFinished, AnswerPiece, ChatMessage, Sampling
    from device.client import DaemonClient

PERCENT_A_LINE = 10  # of a conversion's progress

# The daemon says what is allowed; what stands here is to be read.
_SAMPLING = (
    ("--temperature", float, "T", "0 to 5; 0, the default, always takes the likeliest token"),
    ("--top-k", int, "K", "choose among the K likeliest tokens; 0 to 1000000; 0, the default, among all"),
    ("--top-p", float, "P", "choose among the likeliest that make up P; above 0, up to 1 (the default)"),
    ("--repetition-penalty", float, "R", "above 1: repeat less; 0.1 to 10, 1 by default"),
    ("--seed", int, "N", "the same seed gives the same answer; 0 by default"),
    ("--max-tokens", int, "N", "length of the answer at most; 1 to 32768, 512 by default"),
)
_OPTIONS = frozenset(option for option, *_ in _SAMPLING) | {"--stop"}


def add_options(parser: argparse.ArgumentParser, *, model: bool = True, system: bool = True) -> None:
    """Add --node, --model, --system and the sampling options."""
    if model:
        parser.add_argument("--model", default="default", metavar="NAME", help="name or digest of the model")
    parser.add_argument(
        "--node",
        default="auto",
        metavar="local|auto|ID",
        help="who answers: this node, whoever can (the default), or one neighbour",
    )
    if system:
        parser.add_argument("--system", metavar="TEXT", help="instructions that stand before the conversation")
    sampling = parser.add_argument_group("sampling")
    for option, kind, metavar, text in _SAMPLING:
        sampling.add_argument(option, type=kind, metavar=metavar, help=text)
    sampling.add_argument("--stop", action="append", metavar="TEXT", help="end before this text (repeatable, up to 8)")


def sampling_of(args: argparse.Namespace) -> "Sampling":
    """The sampling that the options say."""
    from device.api import Sampling  # noqa: PLC0415  `--help` has no use for it

    return Sampling(
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
        repetition_penalty=args.repetition_penalty,
        seed=args.seed,
        max_tokens=args.max_tokens,
        stop=tuple(args.stop) if args.stop else None,
    )


def opening(args: argparse.Namespace) -> "list[ChatMessage]":
    """What stands before the first question."""
    return [said("system", args.system)] if args.system else []


def said(role: str, text: str) -> "ChatMessage":
    """One turn of a conversation."""
    from device.api import ChatMessage  # noqa: PLC0415  as above

    return ChatMessage(role=role, content=text)


async def stream(
    client: "DaemonClient", messages: "Sequence[ChatMessage]", args: argparse.Namespace, *, quiet: bool
) -> "tuple[str, AnswerFinished]":
    """Ask and print the answer as it comes, unless `quiet`; give back all of it."""
    answer = client.ask(messages, model=args.model, node=args.node, sampling=sampling_of(args))
    return await printed(answer, quiet=quiet)


async def printed(
    answer: "AsyncGenerator[AnswerPiece | AnswerFinished | AnswerDelayed, None]", *, quiet: bool
) -> "tuple[str, AnswerFinished]":
    """Print an answer as it comes, unless `quiet`; give back all of it.

    Whatever ends it, the line that was begun is ended too, so that an error or a prompt starts its own.
    """
    from contextlib import aclosing  # noqa: PLC0415  as above

    from device.api import AnswerLoading, AnswerPiece, AnswerQueued  # noqa: PLC0415  as above
    from device.client import RequestRefusedError  # noqa: PLC0415  as above

    pieces: list[str] = []
    worth_telling = 0  # per cent of a conversion
    try:
        async with aclosing(answer):
            async for item in answer:
                if isinstance(item, AnswerQueued | AnswerLoading):
                    worth_telling = worth_telling if quiet else _say_why(item, worth_telling)
                elif isinstance(item, AnswerPiece):
                    pieces.append(item.text)
                    if not quiet:
                        print(item.text, end="", flush=True)
                else:
                    finished = item
    except RequestRefusedError as error:
        option = f"--{error.param.replace('_', '-')}"
        if option in _OPTIONS:  # the person knows the option, not the field of the API
            error.args = (option + str(error).removeprefix(error.param),)
            error.hint = "see hearth ask --help"
        raise
    finally:
        if pieces and not quiet and not pieces[-1].endswith("\n"):
            print(flush=True)
    return "".join(pieces), finished


def _say_why(delayed: "AnswerDelayed", worth_telling: int) -> int:
    """Say why there is no answer yet, of a conversion now and then; return how far it is the next time."""
    from device.api import AnswerLoading  # noqa: PLC0415  as above

    if not isinstance(delayed, AnswerLoading):
        print_note(delay(delayed))
    elif delayed.converted_percent >= worth_telling:
        print_note(delay(delayed))
        return delayed.converted_percent + PERCENT_A_LINE
    return worth_telling


def print_answerer(finished: "AnswerFinished") -> None:
    """Say on stderr who answered, with what and how fast."""
    allowed = f" ({count(finished.completion_tokens, 'token')}; --max-tokens)"
    cut = f", cut at the length allowed{allowed}" if finished.finish_reason == "length" else ""
    print_note(f"{dash(sys.stderr)} answered by {answered_by(finished)}, {speed(finished.tokens_per_s)}{cut}")


def as_json(text: str, finished: "AnswerFinished") -> dict[str, Any]:
    """The one object of --json."""
    by = finished.answerer
    return {
        "answer": text,
        "node_id": by.node_id,
        "node_name": by.node_name,
        "model": by.model,
        "model_digest": by.model_digest,
        "prompt_tokens": finished.prompt_tokens,
        "cached_tokens": finished.cached_tokens,
        "completion_tokens": finished.completion_tokens,
        "ttft_ms": finished.ttft_ms,
        "tokens_per_s": finished.tokens_per_s,
        "finish_reason": finished.finish_reason,
        "parts": [vars(part) for part in finished.parts],
    }
