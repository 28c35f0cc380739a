"""What members gave each other, by the record: a total, pure function of the set of its entries.

The rules in plain words: docs/governance.md.  It is shown, and nothing can be had for it: two members that lie together
can say of each other what they like, so that what counts for whoever reads it is by how many, and by whom, it was
received.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add

from device.api_of_record import Contributions, Giver, Receipt
from mesh.core import crypto
from mesh.core.contributions import NOTHING, Amount, Contribution
from mesh.core.entries import Entry
from mesh.core.standing import Standing


@dataclass(frozen=True, kw_only=True)
class Contributor:
    """Somebody who gave.  key: what its owner was let in under; by_receiver: by the same of whoever received it."""

    key: bytes
    by_receiver: Mapping[bytes, Amount]

    @property
    def total(self) -> Amount:
        """All that it gave, to everybody."""
        return reduce(add, self.by_receiver.values(), NOTHING)


def fold_contributions(entries: Iterable[Entry], standing: Standing) -> tuple[Contributor, ...]:
    """Sum a record's contributions up, for each giver; `standing` says whose word counts.

    Keys that were rotated count as one person's; whoever has had both keys of an entry has made it alone, and that does
    not count.
    """
    given: dict[bytes, dict[bytes, Amount]] = {}
    for author, body in _counted(entries, standing):
        receivers, givers = standing.people_of(author), standing.people_of(body.giver)
        if givers and set(givers).isdisjoint(receivers):
            by_receiver = given.setdefault(givers[0], {})
            by_receiver[receivers[0]] = by_receiver.get(receivers[0], NOTHING) + body.amount
    return tuple(
        Contributor(key=giver, by_receiver=dict(sorted(by_receiver.items())))
        for giver, by_receiver in sorted(given.items())
    )


def shown(contributors: Iterable[Contributor], standing: Standing, present: frozenset[bytes]) -> Contributions:
    """Write down who gave what, whoever gave to most members first; `present`: the keys that members use now."""

    def order(one: Contributor) -> tuple[int, int, int, bytes]:
        return (-len(one.by_receiver), -one.total.tokens, -one.total.model_bytes, one.key)

    givers = [
        Giver(
            **vars(_receipt(one.key, one.total, standing)),  # who gave, and how much in all
            member=not present.isdisjoint(standing.keys_from(one.key)),
            receivers=tuple(_receipt(key, amount, standing) for key, amount in one.by_receiver.items()),
        )
        for one in sorted(contributors, key=order)
    ]
    return Contributions(givers=tuple(givers))


def _receipt(key: bytes, amount: Amount, standing: Standing) -> Receipt:
    return Receipt(
        node_id=crypto.node_id(crypto.raw_id(key)),
        name=standing.name_of(key),
        answers=amount.answers,
        tokens=amount.tokens,
        model_bytes=amount.model_bytes,
    )


def _counted(entries: Iterable[Entry], standing: Standing) -> Iterable[tuple[bytes, Contribution]]:
    """Give those whose receivers' word counts; of one pair and period that of the lowest id."""
    found: dict[tuple[bytes, bytes, int], tuple[bytes, Contribution]] = {}
    for entry in sorted({e.id: e for e in entries}.values(), key=lambda entry: entry.id):
        body = entry.body
        if isinstance(body, Contribution) and standing.counts(entry):
            found.setdefault((entry.author, body.giver, body.period), (entry.author, body))
    return found.values()
