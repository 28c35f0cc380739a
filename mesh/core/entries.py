r"""One entry of the ledger, byte by byte (decisions 16, 20 and 21 of docs/protocol.md).

    entry     payload, Ed25519 signature(64) over "hearthmesh/entry/1\0", community, payload
    payload   [version=1, community(32), author(32), seq, prev(32)|null, [dep(32)...], ts, kind, [body...]]
    id        SHA-256 of the payload: the signature cannot make two ids of one entry

The community is the id of its genesis entry, in whose own payload 32 zero bytes stand for it.  `prev` is the author's
entry before; `deps` are the other entries nobody had built on yet, in ascending order.  `ts` is advisory.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from mesh.core import codec, crypto
from mesh.core.attestation import Attestation, parse_attestation
from mesh.core.ballots import BALLOT_KINDS, Ballot, Recovery, parse_ballot
from mesh.core.codec import Item
from mesh.core.community_fork import Fork, parse_fork
from mesh.core.contributions import Contribution, parse_contribution
from mesh.core.statement import IdentityStatement
from mesh.errors import MalformedError

VERSION: Final = 1
MAX_ENTRY_BYTES: Final = 64 * 1024
MAX_DEPS: Final = 64
MAX_SEQ: Final = 2**40
MAX_NAME: Final = 64
MAX_REASON: Final = 200
MAX_LICENCE: Final = 500
ID_BYTES: Final = 32
DIGEST_BYTES: Final = 32
NONCE_BYTES: Final = 16
_KIND: Final = "entry"


@dataclass(frozen=True, slots=True)
class Genesis:
    """The first entry: names the community and its founder; the nonce makes two of one name differ."""

    KIND = "genesis"
    name: str
    founder: IdentityStatement
    node_name: str
    nonce: bytes
    invite_budget: int

    def to_items(self) -> list[Item]:
        """Write the body."""
        founder = self.founder
        return [self.name, founder.static, founder.signature, self.node_name, self.nonce, self.invite_budget]


@dataclass(frozen=True, slots=True)
class Admit:
    """A voter lets a node in."""

    KIND = "admit"
    subject: IdentityStatement
    node_name: str
    role: str

    def to_items(self) -> list[Item]:
        """Write the body."""
        subject = self.subject
        return [subject.public, subject.static, subject.signature, self.node_name, self.role]


@dataclass(frozen=True, slots=True)
class Remove:
    """A node is shown out, or leaves by itself."""

    KIND = "remove"
    public: bytes
    reason: str

    def to_items(self) -> list[Item]:
        """Write the body."""
        return [self.public, self.reason]


@dataclass(frozen=True, slots=True)
class RotateKey:
    """A node goes on under a new key, in a new feed."""

    KIND = "rotate-key"
    old: bytes
    new: IdentityStatement

    def to_items(self) -> list[Item]:
        """Write the body."""
        return [self.old, self.new.public, self.new.static, self.new.signature]


@dataclass(frozen=True, slots=True)
class PublishModel:
    """A member says: this model is ours to use.  `release` is the SHA-256 of what its publisher signed of it."""

    KIND = "model"
    digest: bytes
    release: bytes
    name: str
    licence: str

    def to_items(self) -> list[Item]:
        """Write the body."""
        return [self.digest, self.release, self.name, self.licence]


@dataclass(frozen=True, slots=True)
class RetireModel:
    """A member takes that back, for itself or, if it votes, for everyone."""

    KIND = "retire"
    digest: bytes
    reason: str

    def to_items(self) -> list[Item]:
        """Write the body."""
        return [self.digest, self.reason]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A kind this version does not know: kept and passed on, never acted on."""

    kind: str


Known = Genesis | Admit | Remove | RotateKey | PublishModel | RetireModel | Contribution | Fork | Attestation | Ballot
Body = Known | Unknown
KINDS: Final = BALLOT_KINDS | {
    one.KIND for one in (Genesis, Admit, Remove, RotateKey, PublishModel, RetireModel, Contribution, Fork, Attestation)
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where an author's next entry goes."""

    seq: int
    prev: bytes | None
    deps: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A parsed entry; `raw` is what is stored and sent, `community` the id of its genesis (its own, if it is one)."""

    raw: bytes
    id: bytes
    community: bytes
    author: bytes
    seq: int
    prev: bytes | None
    deps: tuple[bytes, ...]
    ts: int
    body: Body

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place(self.seq, self.prev, self.deps)

    @property
    def kind(self) -> str:
        """What kind it is, known here or not."""
        return self.body.kind if isinstance(self.body, Unknown) else self.body.KIND

    @property
    def lets_in(self) -> bytes | None:
        """The key whose entries a ledger takes because of this one, if it lets any in."""
        if isinstance(self.body, Recovery):
            return self.body.public
        statement = statement_in(self.body)
        return statement.public if statement is not None else None

    @property
    def parents(self) -> tuple[bytes, ...]:
        """The ids of the entries this one follows."""
        return self.deps if self.prev is None else (self.prev, *self.deps)

    @classmethod
    def parse(cls, raw: bytes, *, trusted: bool = False) -> "Entry":
        """Read an entry and check its signatures (of a trusted one, as from own disk, they are left to `verify`).

        Errors: MalformedError, CryptoError.
        """
        if not crypto.SIGNATURE_BYTES < len(raw) <= MAX_ENTRY_BYTES:
            raise MalformedError(f"a ledger entry of {len(raw)} bytes")
        payload = raw[: -crypto.SIGNATURE_BYTES]
        match codec.decode_array(payload, max_bytes=MAX_ENTRY_BYTES):
            case [version, community, author, seq, prev, deps, ts, str(kind), list(items)]:
                if codec.unsigned(version, codec.INT_MAX) != VERSION:  # true, which equals 1, is none
                    raise MalformedError("a ledger entry of another version")
            case _:
                raise MalformedError("not a ledger entry")
        signer = codec.fixed_bytes(author, crypto.KEY_BYTES)
        named = codec.fixed_bytes(community, ID_BYTES)
        place = _parse_place(seq, prev, deps)
        body = _parse_body(signer, codec.short_text(kind, MAX_NAME), items)
        identity = hashlib.sha256(payload).digest()
        _check_genesis(named, place, body)
        home = identity if isinstance(body, Genesis) else named
        advised = codec.unsigned(ts, codec.INT_MAX)
        entry = cls(raw, identity, home, signer, place.seq, place.prev, place.deps, advised, body)
        if not trusted:
            entry.verify()
        return entry

    def verify(self) -> None:
        """Check its signatures.  Errors: CryptoError."""
        payload, signature = self.raw[: -crypto.SIGNATURE_BYTES], self.raw[-crypto.SIGNATURE_BYTES :]
        named = crypto.NO_COMMUNITY if isinstance(self.body, Genesis) else self.community
        crypto.verify(self.author, signature, _KIND, named, payload)
        statement = statement_in(self.body)
        if statement is not None:
            statement.verify()
        if isinstance(self.body, Contribution):
            self.body.verify(named, self.author)


def write_entry(seed: bytes, community: bytes, place: Place, body: Known) -> Entry:
    """Sign an entry; the caller has saved its seq first (two different entries of one seq are a crime)."""
    payload = codec.encode(
        [
            VERSION,
            community,
            crypto.ed25519_public(seed),
            place.seq,
            place.prev,
            [*place.deps],
            0,  # no clock here is worth trusting
            body.KIND,
            body.to_items(),
        ]
    )
    return Entry.parse(payload + crypto.sign(seed, _KIND, community, payload))


def write_genesis(seed: bytes, body: Genesis) -> Entry:
    """Found a community."""
    return write_entry(seed, crypto.NO_COMMUNITY, Place(0, None, ()), body)


def _parse_place(seq: Item, prev: Item, deps: Item) -> Place:
    number = codec.unsigned(seq, MAX_SEQ)
    previous = None if prev is None else codec.fixed_bytes(prev, ID_BYTES)
    others = tuple(codec.fixed_bytes(dep, ID_BYTES) for dep in codec.short_array(deps, MAX_DEPS))
    if (number == 0) != (previous is None):
        raise MalformedError("an entry has a predecessor if and only if it is not its author's first")
    if list(others) != sorted(set(others)) or previous in others:
        raise MalformedError("an entry's deps are not in ascending order")
    return Place(number, previous, others)


def _check_genesis(named: bytes, place: Place, body: Body) -> None:
    if isinstance(body, Genesis) != (named == crypto.NO_COMMUNITY):
        raise MalformedError("a genesis, and only it, names no community")
    if isinstance(body, Genesis) == bool(place.deps or place.prev):
        raise MalformedError("a genesis, and only it, follows no other entry")


def _parse_body(author: bytes, kind: str, items: list[Item]) -> Body:
    if kind in BALLOT_KINDS:
        return parse_ballot(kind, items)
    if kind == Contribution.KIND:
        return parse_contribution(author, items)
    body = _parse_membership(author, kind, items) or _parse_others(kind, items)
    if body is None and kind in KINDS:
        raise MalformedError(f"a ledger entry of kind {kind} with another body")
    return body or _unknown(kind)


def _parse_membership(author: bytes, kind: str, items: list[Item]) -> Known | None:
    match kind, items:
        case Genesis.KIND, [name, static, signature, node_name, nonce, budget]:
            founder = IdentityStatement.parse(author, static, signature)
            return Genesis(
                _name(name),
                founder,
                _name(node_name),
                codec.fixed_bytes(nonce, NONCE_BYTES),
                codec.unsigned(budget, 2**16),
            )
        case Admit.KIND, [public, static, signature, node_name, role]:
            subject = IdentityStatement.parse(public, static, signature)
            return Admit(subject, _name(node_name), codec.short_text(role, MAX_NAME))
        case Remove.KIND, [public, reason]:
            return Remove(codec.fixed_bytes(public, crypto.KEY_BYTES), codec.short_text(reason, MAX_REASON))
        case RotateKey.KIND, [old, new, static, signature]:
            return RotateKey(codec.fixed_bytes(old, crypto.KEY_BYTES), IdentityStatement.parse(new, static, signature))
    return None


def _parse_others(kind: str, items: list[Item]) -> Known | None:
    match kind, items:
        case PublishModel.KIND, [digest, release, name, licence]:
            return PublishModel(
                codec.fixed_bytes(digest, DIGEST_BYTES),
                codec.fixed_bytes(release, DIGEST_BYTES),
                _name(name),
                codec.short_text(licence, MAX_LICENCE),
            )
        case RetireModel.KIND, [digest, reason]:
            return RetireModel(codec.fixed_bytes(digest, DIGEST_BYTES), codec.short_text(reason, MAX_REASON))
        case Fork.KIND, _:
            return parse_fork(items)
        case Attestation.KIND, _:
            return parse_attestation(items)
    return None


@lru_cache(maxsize=64)  # there may be very many of one kind
def _unknown(kind: str) -> Unknown:
    return Unknown(kind)


def statement_in(body: Body) -> IdentityStatement | None:
    """Return the identity that a body lets in, if it lets in any."""
    if isinstance(body, Genesis):
        return body.founder
    if isinstance(body, Admit):
        return body.subject
    return body.new if isinstance(body, RotateKey) else None


def _name(item: Item) -> str:
    name = codec.short_text(item, MAX_NAME)
    if not name.strip():
        raise MalformedError("an empty name")
    return name
