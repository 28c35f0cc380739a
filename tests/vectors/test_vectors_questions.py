"""Bodies of the device's messages are the committed bytes."""

import pytest

from device.api import HeldModel
from device.core.query_messages import Cancel, Done, Failed, Query, QueryMessage, Status, Tokens, parse_message
from device.errors import NeighbourMisbehavedError
from models.core.request import GenerationFinished, GenerationRequest, Message, SamplingParams, TokensGenerated
from tests.vectors.reading import Case, cases, data_of, invalid, title


def message_of(case: Case) -> QueryMessage | Status:
    """Build the message that a case describes."""
    match case["kind"]:
        case 0:
            models = tuple(HeldModel(**model) for model in case["models"])
            return Status(name=case["name_of_node"], models=models)
        case Query.KIND:
            turns = tuple(Message(**turn) for turn in case["messages"])
            sampling = SamplingParams(**{**case["sampling"], "stop": tuple(case["sampling"]["stop"])})
            request = GenerationRequest(turns, sampling, tuple(case["answered"]), case["characters"])
            return Query(case["digest"], request)
        case Tokens.KIND:
            return Tokens(case["n"], TokensGenerated(tuple(case["ids"]), case["text"]))
        case Done.KIND:
            return Done(GenerationFinished(**case["finished"]))
        case Failed.KIND:
            return Failed(case["code"], case["text"])
    return Cancel()


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
