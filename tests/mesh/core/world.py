"""People who sign ledger entries, for the tests of the core."""

import hashlib

from mesh.core import codec, crypto
from mesh.core.contributions import Amount, Contribution, counter_sign
from mesh.core.entries import (
    Admit,
    Entry,
    Genesis,
    Known,
    Place,
    PublishModel,
    Remove,
    RetireModel,
    RotateKey,
    write_entry,
    write_genesis,
)
from mesh.core.ledger import Ledger
from mesh.core.statement import IdentityStatement


class Person:
    """A node's keys, made from its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seed = hashlib.sha256(name.encode()).digest()
        self.static_secret = hashlib.sha256(b"static" + name.encode()).digest()
        self.statement = IdentityStatement.make(self.seed, crypto.x25519_public(self.static_secret))
        self.public = self.statement.public
        self.raw_id = self.statement.raw_id

    def founds(self, name: str = "Harbour", budget: int = 8) -> Ledger:
        """Found a community."""
        body = Genesis(name, self.statement, self.name, b"n" * 16, budget)
        return Ledger(write_genesis(self.seed, body))

    def signs(self, ledger: Ledger, body: Known, *, place: Place | None = None) -> Entry:
        """Sign an entry on top of this ledger and add it there."""
        entry = write_entry(self.seed, ledger.community, place or ledger.next_place(self.public), body)
        ledger.add(entry)
        return entry

    def admits(self, ledger: Ledger, other: "Person", role: str = "observer") -> Entry:
        """Let somebody in."""
        return self.signs(ledger, Admit(other.statement, other.name, role))

    def removes(self, ledger: Ledger, other: "Person") -> Entry:
        """Show somebody out."""
        return self.signs(ledger, Remove(other.public, "left"))

    def becomes(self, ledger: Ledger, other: "Person") -> Entry:
        """Go on under another key."""
        return self.signs(ledger, RotateKey(self.public, other.statement))

    def publishes(self, ledger: Ledger, model: str, *, release: str = "release", place: Place | None = None) -> Entry:
        """Publish a model whose digest is made from its name."""
        body = PublishModel(digest_of(model), digest_of(release), model, "CC0-1.0")
        return self.signs(ledger, body, place=place)

    def retires(self, ledger: Ledger, model: str, reason: str = "", *, place: Place | None = None) -> Entry:
        """Retire a model."""
        return self.signs(ledger, RetireModel(digest_of(model), reason), place=place)

    def receives(
        self, ledger: Ledger, giver: "Person", tokens: int, *, period: int = 0, place: Place | None = None
    ) -> Entry:
        """Say that somebody gave an answer of so many tokens, which that one has counter-signed."""
        amount = Amount(1, tokens, 0)
        signature = counter_sign(giver.seed, ledger.community, self.public, period, amount)
        return self.signs(ledger, Contribution(giver.public, period, amount, signature), place=place)


def digest_of(name: str) -> bytes:
    """Make up a digest."""
    return hashlib.sha256(name.encode()).digest()


def of_the_future(person: Person, ledger: Ledger, size: int, *, place: Place | None = None) -> Entry:
    """Write an entry of a kind this version does not know, with so many bytes in it."""
    where = place or ledger.next_place(person.public)
    head: list[codec.Item] = [1, ledger.community, person.public, where.seq, where.prev, [*where.deps], 0]
    payload = codec.encode([*head, "of the future", [bytes(size)]])
    return Entry.parse(payload + crypto.sign(person.seed, "entry", ledger.community, payload))


def copy_of(ledger: Ledger) -> Ledger:
    """Make a second ledger with the same entries, as another node holds it."""
    return Ledger.of(ledger.entries)
