"""Bodies of the device's messages are the committed bytes."""

import pytest

from device.api_of_models import HeldModel
from device.core.query_messages import (
    Cancel,
    Done,
    Failed,
    Query,
    QueryMessage,
    Queued,
    Status,
    Tokens,
    parse_message,
)
from device.errors import NeighbourMisbehavedError
from models.core.request import (
    GenerationFinished,
    GenerationRequest,
    Message,
    SamplingParams,
    TokenLogprob,
    TokensGenerated,
    ToolCall,
)
from tests.vectors.reading import Case, cases, data_of, invalid, title


def message_of(case: Case) -> QueryMessage | Status:  # noqa: PLR0911  one a kind
    """Build the message that a case describes."""
    match case["kind"]:
        case 0:
            models = tuple(HeldModel(**model) for model in case["models"])
            return Status(name=case["name_of_node"], models=models)
        case Query.KIND:
            turns = tuple(message_from(turn) for turn in case["messages"])
            sampling = SamplingParams(**{**case["sampling"], "stop": tuple(case["sampling"]["stop"])})
            request = GenerationRequest(
                turns,
                sampling,
                tuple(case["answered"]),
                case["characters"],
                prompt=case["prompt"],
                tools=tuple(case["tools"]),
                tool_choice=case["tool_choice"],
                schema=case["schema"],
                logprobs=case["logprobs"],
            )
            return Query(case["digest"], request)
        case Tokens.KIND:
            return Tokens(case["n"], TokensGenerated(tuple(case["ids"]), case["text"], logprobs_of(case)))
        case Done.KIND:
            return Done(GenerationFinished(**case["finished"]))
        case Failed.KIND:
            return Failed(case["code"], case["text"])
        case Queued.KIND:
            return Queued(case["place"])
    return Cancel()


def message_from(turn: Case) -> Message:
    """Build one turn."""
    return Message(**{**turn, "tool_calls": tuple(ToolCall(**call) for call in turn["tool_calls"])})


def logprobs_of(case: Case) -> tuple[TokenLogprob, ...]:
    """Build the log-probabilities of a case."""
    return tuple(
        TokenLogprob(bytes.fromhex(token), logprob, tuple((bytes.fromhex(other), value) for other, value in top))
        for token, logprob, top in case["logprobs"]
    )


def read(kind: int, body: bytes) -> QueryMessage | Status | None:
    """Read a message, or a status for kind 0."""
    return parse_message(kind, body) if kind else Status.parse(body)


@pytest.mark.parametrize("case", cases("questions"), ids=title)
def test_messages(case: Case) -> None:
    """Written and read."""
    message = message_of(case)
    assert message.to_body() == data_of(case)
    assert read(case["kind"], data_of(case)) == message


@pytest.mark.parametrize("case", invalid("questions"), ids=title)
def test_what_is_no_message(case: Case) -> None:
    """Is a neighbour's misbehaviour, and nothing worse."""
    with pytest.raises(NeighbourMisbehavedError):
        read(case["kind"], data_of(case))
