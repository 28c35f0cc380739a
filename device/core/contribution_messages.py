"""What a receiver and a giver say to each other about a contribution, inside sealed envelopes: two kinds.

| kind | name           | body                                                      | re          |
|------|----------------|-----------------------------------------------------------|-------------|
| 23   | CLAIM          | [period, answers, tokens, model bytes]                    |             |
| 24   | COUNTERSIGNED  | [period, answers, tokens, model bytes, counter-signature] | the CLAIM's |

A CLAIM says what its sender has received and has no signature for; COUNTERSIGNED how much of it the giver signs, never
more.  Who signs nothing does not answer.  A CLAIM may be sent again: whoever has signed the period says the same.
"""

from dataclasses import dataclass
from typing import ClassVar, Final

from device.errors import NeighbourMisbehavedError
from mesh.core import codec, crypto
from mesh.core.codec import Item
from mesh.core.contributions import MAX_PERIOD, Amount
from mesh.errors import MalformedError

MAX_BYTES: Final = 128
MAX_ITEMS: Final = 8  # more than the 6 of the longer one


@dataclass(frozen=True)
class Claim:
    """So much was received from you; it is the contribution of that number between us."""

    KIND: ClassVar[int] = 23
    period: int
    amount: Amount

    def to_body(self) -> bytes:
        """Write the body."""
        return codec.encode([self.period, *self.amount.to_items()])


@dataclass(frozen=True)
class CounterSigned:
    """So much of it was given, says the giver's signature; it is still to be verified."""

    KIND: ClassVar[int] = 24
    period: int
    amount: Amount
    signature: bytes

    def to_body(self) -> bytes:
        """Write the body."""
        return codec.encode([self.period, *self.amount.to_items(), self.signature])


ContributionMessage = Claim | CounterSigned


def parse_message(kind: int, body: bytes) -> ContributionMessage | None:
    """Read a member's message; None for any other kind.

    Raises NeighbourMisbehavedError for a body that is none of its kind.
    """
    if kind not in (Claim.KIND, CounterSigned.KIND):
        return None
    try:
        return _message(kind, codec.decode_array(body, max_bytes=MAX_BYTES, max_items=MAX_ITEMS))
    except MalformedError as error:
        raise NeighbourMisbehavedError(f"a message of kind {kind}: {error}") from error


def _message(kind: int, fields: list[Item]) -> ContributionMessage:
    match kind, fields:
        case Claim.KIND, [period, answers, tokens, model_bytes]:
            return Claim(codec.unsigned(period, MAX_PERIOD), Amount.parse(answers, tokens, model_bytes))
        case CounterSigned.KIND, [period, answers, tokens, model_bytes, signature]:
            return CounterSigned(
                codec.unsigned(period, MAX_PERIOD),
                Amount.parse(answers, tokens, model_bytes),
                codec.fixed_bytes(signature, crypto.SIGNATURE_BYTES),
            )
    raise MalformedError("it has other fields")
