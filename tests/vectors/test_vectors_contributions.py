"""Bodies of messages about contributions are the committed bytes."""

import pytest

from device.core.contribution_messages import Claim, ContributionMessage, CounterSigned, parse_message
from device.errors import NeighbourMisbehavedError
from mesh.core.contributions import Amount, Contribution
from tests.vectors.reading import Case, cases, data_of, invalid, title


def message_of(case: Case) -> ContributionMessage:
    """Build the message that a case describes; what is signed in it holds."""
    amount = Amount(case["answers"], case["tokens"], case["model_bytes"])
    if case["kind"] == Claim.KIND:
        return Claim(case["period"], amount)
    signature = bytes.fromhex(case["signature"])
    said = Contribution(bytes.fromhex(case["giver"]), case["period"], amount, signature)
    said.verify(bytes.fromhex(case["community"]), bytes.fromhex(case["receiver"]))
    return CounterSigned(case["period"], amount, signature)


@pytest.mark.parametrize("case", cases("contributions"), ids=title)
def test_messages(case: Case) -> None:
    """Written and read."""
    message = message_of(case)
    assert message.to_body() == data_of(case)
    assert parse_message(case["kind"], data_of(case)) == message


@pytest.mark.parametrize("case", invalid("contributions"), ids=title)
def test_what_is_no_message(case: Case) -> None:
    """Is a neighbour's misbehaviour, and nothing worse."""
    with pytest.raises(NeighbourMisbehavedError):
        parse_message(case["kind"], data_of(case))
