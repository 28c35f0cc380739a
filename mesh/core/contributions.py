r"""What one member gave another, said by who received it and counter-signed by who gave it: a body of ledger entries.

    contribution       [giver(32), period, answers, tokens, model bytes, counter-signature(64)]
    counter-signature  the giver's Ed25519 signature over "hearthmesh/contribution/1\0", community,
                       [receiver(32), giver(32), period, answers, tokens, model bytes]

The receiver is the entry's author, so that neither end can make one alone.  `period` counts what one receiver says of
one giver, from 0; of several entries of one period one counts (device/core/contributions.py).
"""

from dataclasses import dataclass
from typing import ClassVar, Final

from mesh.core import codec, crypto
from mesh.core.codec import Item
from mesh.errors import MalformedError

MAX_PERIOD: Final = 2**32
MAX_AMOUNT: Final = 2**48  # of answers, of tokens, of bytes: more than a community gives in its life


@dataclass(frozen=True, slots=True)
class Amount:
    """How much was given: answers, tokens of answers, bytes of models."""

    answers: int = 0
    tokens: int = 0
    model_bytes: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.answers + other.answers, self.tokens + other.tokens, self.model_bytes + other.model_bytes)

    def __bool__(self) -> bool:
        return self != NOTHING

    def less(self, other: "Amount") -> "Amount":
        """Return what is left beyond another; of nothing there is never less than none."""
        return Amount(
            max(0, self.answers - other.answers),
            max(0, self.tokens - other.tokens),
            max(0, self.model_bytes - other.model_bytes),
        )

    def common(self, other: "Amount") -> "Amount":
        """Return as much as both hold, of each."""
        return Amount(
            min(self.answers, other.answers),
            min(self.tokens, other.tokens),
            min(self.model_bytes, other.model_bytes),
        )

    def to_items(self) -> list[Item]:
        """Write it, to be put among the items of a body."""
        return [self.answers, self.tokens, self.model_bytes]

    @classmethod
    def parse(cls, answers: Item, tokens: Item, model_bytes: Item) -> "Amount":
        """Read foreign items.  Errors: MalformedError, also for nothing at all."""
        amount = cls(*(codec.unsigned(item, MAX_AMOUNT) for item in (answers, tokens, model_bytes)))
        if not amount:
            raise MalformedError("a contribution of nothing")
        return amount


NOTHING: Final = Amount()
MOST: Final = Amount(MAX_AMOUNT, MAX_AMOUNT, MAX_AMOUNT)


@dataclass(frozen=True, slots=True)
class Contribution:
    """The receiver's word, with the giver's signature beside it, that so much was given in a period."""

    KIND: ClassVar[str] = "contribution"
    giver: bytes
    period: int
    amount: Amount
    counter_signature: bytes

    def to_items(self) -> list[Item]:
        """Write the body."""
        return [self.giver, self.period, *self.amount.to_items(), self.counter_signature]

    def verify(self, community: bytes, receiver: bytes) -> None:
        """Check that the giver signed this, for this community and this receiver.  Errors: CryptoError."""
        signed = _signed(receiver, self.giver, self.period, self.amount)
        crypto.verify(self.giver, self.counter_signature, self.KIND, community, signed)


def counter_sign(seed: bytes, community: bytes, receiver: bytes, period: int, amount: Amount) -> bytes:
    """Sign, as the giver, what a receiver says; the same words give the same signature."""
    signed = _signed(receiver, crypto.ed25519_public(seed), period, amount)
    return crypto.sign(seed, Contribution.KIND, community, signed)


def parse_contribution(receiver: bytes, items: list[Item]) -> Contribution:
    """Read the body; its counter-signature is still to be verified.  Errors: MalformedError."""
    match items:
        case [giver, period, answers, tokens, model_bytes, signature]:
            if giver == receiver:
                raise MalformedError("a contribution of somebody to itself")
            return Contribution(
                codec.fixed_bytes(giver, crypto.KEY_BYTES),
                codec.unsigned(period, MAX_PERIOD),
                Amount.parse(answers, tokens, model_bytes),
                codec.fixed_bytes(signature, crypto.SIGNATURE_BYTES),
            )
    raise MalformedError("a ledger entry of kind contribution with another body")


def _signed(receiver: bytes, giver: bytes, period: int, amount: Amount) -> bytes:
    return codec.encode([receiver, giver, period, *amount.to_items()])
