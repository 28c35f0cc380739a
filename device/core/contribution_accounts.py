"""What this node and others gave each other and nobody has signed yet: counted, claimed, counter-signed, settled.

All in memory; whoever keeps it on the disk does so before anything that follows from it is sent (device/contributions).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from mesh.core.contributions import MAX_PERIOD, MOST, NOTHING, Amount

MAX_ACCOUNTS: Final = 512  # more than a community has members


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How often a contribution may be written down; the reasons are in docs/adr/0036-contributions.md.

    wait_s: of running time before the first one; it doubles with each tenth of the room that is used.
    min_tokens, min_model_bytes: how much has to come together, of one or the other.
    """

    wait_s: float = 24 * 3600.0
    min_tokens: int = 10_000  # half an hour of a small board's work
    min_model_bytes: int = 64 * 1024 * 1024  # the smallest model worth passing on
    look_every_s: float = 60.0  # for what may be claimed
    ask_again_s: float = 600.0  # whoever did not answer a claim
    write_every_s: float = 3600.0  # what is only counted: it wears the card no more, and a power cut takes little

    def worth(self, amount: Amount) -> float:
        """Say how many times over there is enough of it."""
        return max(amount.tokens / self.min_tokens, amount.model_bytes / self.min_model_bytes)

    def is_worth(self, amount: Amount) -> bool:
        """Whether it is enough for an entry."""
        return self.worth(amount) >= 1


@dataclass(frozen=True, kw_only=True)
class Account:
    """Between this node and one other.

    period: of the next contribution that is received from it; received: what no entry here says yet; given: what it has
    no counter-signature for; signed: what it got the last one for, and signed_period of which of its periods, -1 before
    the first.
    """

    period: int = 0
    received: Amount = NOTHING
    given: Amount = NOTHING
    signed_period: int = -1
    signed: Amount = NOTHING


class Accounts:
    """All of them, by the other's node id."""

    def __init__(self, accounts: Mapping[str, Account] | None = None) -> None:
        self._accounts = dict(accounts or {})

    def all(self) -> Mapping[str, Account]:
        """Give a copy, to be kept."""
        return dict(self._accounts)

    def of(self, peer: str) -> Account:
        """The account with one other."""
        return self._accounts.get(peer, Account())

    def received(self, peer: str, amount: Amount) -> None:
        """Count what came from there."""
        account = self.of(peer)
        self._put(peer, replace(account, received=(account.received + amount).common(MOST)))

    def gave(self, peer: str, amount: Amount) -> None:
        """Count what went there."""
        account = self.of(peer)
        self._put(peer, replace(account, given=(account.given + amount).common(MOST)))

    def worthy(self, pace: Pace) -> list[str]:
        """From whom enough has come for an entry, from whom most first."""
        found = {peer: pace.worth(one.received) for peer, one in self._accounts.items() if one.period <= MAX_PERIOD}
        return sorted((peer for peer, worth in found.items() if worth >= 1), key=lambda peer: (-found[peer], peer))

    def counter_sign(self, peer: str, period: int, claimed: Amount, pace: Pace) -> Amount | None:
        """Say how much of a claim this node signs as the giver: as much as it knows it gave; None for nothing.

        What is signed is taken off the account, which must be on the disk before the signature is sent.  A period that
        was signed is signed with the same amount again, whatever is claimed; an earlier one never is.
        """
        account = self.of(peer)
        if period == account.signed_period:
            return account.signed
        amount = claimed.common(account.given)
        if period < account.signed_period or not pace.is_worth(amount):
            return None
        self._put(peer, replace(account, given=account.given.less(amount), signed_period=period, signed=amount))
        return amount

    def accepts(self, peer: str, period: int, amount: Amount) -> bool:
        """Whether a counter-signature is of the period that is open, and of no more than was received."""
        account = self.of(peer)
        return period == account.period and amount.common(account.received) == amount

    def settle(self, peer: str, period: int, amount: Amount) -> None:
        """Take off what an entry says; nothing happens where that period is over."""
        account = self.of(peer)
        if period >= account.period:
            self._put(peer, replace(account, period=period + 1, received=account.received.less(amount)))

    def keep(self, peers: frozenset[str]) -> None:
        """Forget everybody else."""
        self._accounts = {peer: account for peer, account in self._accounts.items() if peer in peers}

    def _put(self, peer: str, account: Account) -> None:
        self._accounts[peer] = account
        if len(self._accounts) > MAX_ACCOUNTS:
            least = min(self._accounts, key=lambda one: (_size(self._accounts[one]), one))
            del self._accounts[least]


def _size(account: Account) -> int:
    both = account.received + account.given
    return both.tokens + both.model_bytes
