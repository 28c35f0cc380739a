r"""What voters sign to decide on something: bodies of ledger entries (decisions 22 and 23 of docs/protocol.md).

    proposal  [what, public(32), reason]
    charter   [margin, notice, invitations, reason]
    recovery  [public(32)]
    vote      [series, number, round, value(32)|null]
    lock      [series, number, round, value(32)|null, [id of a vote...]]
    commit    [series, number, round, value(32), [id of a lock...]]

A slot, `series` and `number`, can take one value only: the id of a proposal or a charter.  Null is a vote for none of
them.  Ids stand in ascending order.  tally.py says what they prove, voting.py what an honest voter signs, charter.py
what a decision changes.
"""

from dataclasses import dataclass
from typing import ClassVar, Final

from mesh.core import codec, crypto
from mesh.core.codec import Item
from mesh.errors import MalformedError

EPOCH: Final = "epoch"  # the series of slots that change who belongs, and the rules
MAX_NUMBER: Final = 2**40
MAX_ROUND: Final = 2**20
MAX_CITED: Final = 256  # votes or locks: one of each voter
MAX_WORD: Final = 64
MAX_REASON: Final = 200
VALUE_BYTES: Final = 32
MAKE_VOTER: Final = "voter"
MAKE_OBSERVER: Final = "observer"
SHOW_OUT: Final = "remove"
REFRESH: Final = "refresh"  # take up what needs nobody's consent: new keys of voters, who of them left; fix the rest
MAX_VOTERS: Final = 100
MAX_INVITATIONS: Final = 256


@dataclass(frozen=True, order=True, slots=True)
class Slot:
    """A place for one decision: the first, the second... of a series."""

    series: str
    number: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change that a voter would like; `what` says which, `public` whom it concerns."""

    KIND: ClassVar[str] = "proposal"
    what: str
    public: bytes
    reason: str

    def to_items(self) -> list[Item]:
        """Write the body."""
        return [self.what, self.public, self.reason]


@dataclass(frozen=True, slots=True)
class Amendment:
    """Other rules that a voter would like.

    margin: how many voters more than two thirds decide; notice: how many must have seen a proposal before anybody locks
    it (no more than decide need it anyway); invitations: how many nodes each voter may let in that was chosen.
    """

    KIND: ClassVar[str] = "charter"
    margin: int
    notice: int
    invitations: int
    reason: str

    def to_items(self) -> list[Item]:
        """Write the body."""
        return [self.margin, self.notice, self.invitations, self.reason]


@dataclass(frozen=True, slots=True)
class Recovery:
    """A voter names the key on its paper, which can give its seat another key when its board is lost."""

    KIND: ClassVar[str] = "recovery"
    public: bytes

    def to_items(self) -> list[Item]:
        """Write the body."""
        return [self.public]


@dataclass(frozen=True, slots=True)
class Vote:
    """A voter's first step in a round: what it would have, or none of what is proposed."""

    KIND: ClassVar[str] = "vote"
    slot: Slot
    round: int
    value: bytes | None

    def to_items(self) -> list[Item]:
        """Write the body."""
        return [self.slot.series, self.slot.number, self.round, self.value]


@dataclass(frozen=True, slots=True)
class Lock:
    """Its second step: it has seen a quorum vote for the value, or a quorum vote without agreeing on any."""

    KIND: ClassVar[str] = "lock"
    slot: Slot
    round: int
    value: bytes | None
    votes: tuple[bytes, ...]

    def to_items(self) -> list[Item]:
        """Write the body."""
        return [self.slot.series, self.slot.number, self.round, self.value, [*self.votes]]


@dataclass(frozen=True, slots=True)
class Commit:
    """A certificate: a quorum is locked on the value, in one round.  Who writes it down makes no difference."""

    KIND: ClassVar[str] = "commit"
    slot: Slot
    round: int
    value: bytes
    locks: tuple[bytes, ...]

    def to_items(self) -> list[Item]:
        """Write the body."""
        return [self.slot.series, self.slot.number, self.round, self.value, [*self.locks]]


Ballot = Proposal | Amendment | Recovery | Vote | Lock | Commit


def parse_ballot(kind: str, items: list[Item]) -> Ballot:
    """Read the body of one of these kinds.  Errors: MalformedError."""
    match kind, items:
        case Proposal.KIND, [what, public, reason]:
            return Proposal(
                codec.short_text(what, MAX_WORD),
                codec.fixed_bytes(public, crypto.KEY_BYTES),
                codec.short_text(reason, MAX_REASON),
            )
        case Amendment.KIND, [margin, notice, invitations, reason]:
            return Amendment(
                codec.unsigned(margin, MAX_VOTERS),
                codec.unsigned(notice, MAX_VOTERS),
                codec.unsigned(invitations, MAX_INVITATIONS),
                codec.short_text(reason, MAX_REASON),
            )
        case Recovery.KIND, [public]:
            return Recovery(codec.fixed_bytes(public, crypto.KEY_BYTES))
        case Vote.KIND, [series, number, count, value]:
            return Vote(_slot(series, number), _round(count), _value(value))
        case Lock.KIND, [series, number, count, value, votes]:
            return Lock(_slot(series, number), _round(count), _value(value), _cited(votes))
        case Commit.KIND, [series, number, count, value, locks]:
            decided = codec.fixed_bytes(value, VALUE_BYTES)
            return Commit(_slot(series, number), _round(count), decided, _cited(locks))
    raise MalformedError(f"a ledger entry of kind {kind} with another body")


BALLOT_KINDS: Final = frozenset(one.KIND for one in (Proposal, Amendment, Recovery, Vote, Lock, Commit))


def _slot(series: Item, number: Item) -> Slot:
    return Slot(codec.short_text(series, MAX_WORD), codec.unsigned(number, MAX_NUMBER))


def _round(item: Item) -> int:
    return codec.unsigned(item, MAX_ROUND)


def _value(item: Item) -> bytes | None:
    return None if item is None else codec.fixed_bytes(item, VALUE_BYTES)


def _cited(items: Item) -> tuple[bytes, ...]:
    cited = tuple(codec.fixed_bytes(item, VALUE_BYTES) for item in codec.short_array(items, MAX_CITED))
    if list(cited) != sorted(set(cited)):
        raise MalformedError("what an entry cites is not in ascending order")
    return cited
