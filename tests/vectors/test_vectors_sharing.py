"""Bodies of messages about models on their way are the committed bytes."""

import pytest

from device.core.sharing_messages import (
    GiveChunk,
    GiveHolding,
    GivePage,
    GiveRelease,
    Refused,
    SharingMessage,
    WantChunks,
    WantHolding,
    WantPage,
    WantRelease,
    parse_message,
)
from device.errors import NeighbourMisbehavedError
from tests.vectors.reading import Case, cases, data_of, invalid, title


def message_of(case: Case) -> SharingMessage:  # noqa: PLR0911  one a kind
    """Build the message that a case describes."""
    match case["kind"]:
        case WantRelease.KIND:
            return WantRelease(case["model"])
        case GiveRelease.KIND:
            return GiveRelease(bytes.fromhex(case["data"]))
        case WantHolding.KIND:
            return WantHolding(case["model"])
        case GiveHolding.KIND:
            told = {blob: None if bits is None else bytes.fromhex(bits) for blob, bits in case["blobs"].items()}
            return GiveHolding(told)
        case WantChunks.KIND:
            return WantChunks(case["model"], case["blob"], tuple(case["indexes"]))
        case GiveChunk.KIND:
            return GiveChunk(case["index"], bytes.fromhex(case["data"]))
        case WantPage.KIND:
            return WantPage(case["model"], case["blob"], case["level"], case["index"])
        case GivePage.KIND:
            return GivePage(bytes.fromhex(case["data"]))
    return Refused(case["refused"], case["index"])


@pytest.mark.parametrize("case", cases("sharing"), ids=title)
def test_messages(case: Case) -> None:
    """Written and read."""
    message = message_of(case)
    assert message.to_body() == data_of(case)
    assert parse_message(case["kind"], data_of(case)) == message


@pytest.mark.parametrize("case", invalid("sharing"), ids=title)
def test_what_is_no_message(case: Case) -> None:
    """Is a neighbour's misbehaviour, and nothing worse."""
    with pytest.raises(NeighbourMisbehavedError):
        parse_message(case["kind"], data_of(case))
