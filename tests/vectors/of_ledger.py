"""Vectors of the ledger: entries of each kind, what they fold to, epoch keys, and the exchange of both."""

from mesh.core import codec, crypto
from mesh.core.attestation import Attestation
from mesh.core.ballots import (
    EPOCH,
    MAKE_VOTER,
    SHOW_OUT,
    Amendment,
    Commit,
    Lock,
    Proposal,
    Recovery,
    Slot,
    Vote,
)
from mesh.core.community_fork import Fork
from mesh.core.contributions import NOTHING, Amount, counter_sign
from mesh.core.entries import MAX_DEPS, MAX_ENTRY_BYTES, Admit, Entry, RotateKey
from mesh.core.epochs import BY_OBSERVER, BY_VOTER, EpochKey
from mesh.core.ledger import Ledger
from mesh.core.record import checkpoint_of
from mesh.core.roll import fold
from mesh.core.tree_order import fixed
from tests.mesh.core.council import decided, refreshed, voters
from tests.mesh.core.world import Person, copy_of
from tests.vectors.family import Family, Json, as_json, case, flipped, invalid, varied

ADA, BEN, CLEO, PAPER = Person("ada"), Person("ben"), Person("cleo"), Person("ben's paper")
ID = b"\7" * 32


def entries() -> Family:
    """One entry of each kind, and everything that is none."""
    ledger = ADA.founds("Harbour Street")
    named = {"genesis": ledger.genesis, "admit": ADA.admits(ledger, BEN)}
    named["remove"] = BEN.removes(ledger, BEN)
    named["rotate-key"] = ADA.becomes(ledger, CLEO)
    named["model"] = CLEO.publishes(ledger, "tiny")
    named["retire"] = CLEO.retires(ledger, "tiny", "it lies")
    named["proposal"] = CLEO.signs(ledger, Proposal(MAKE_VOTER, BEN.public, "she asked"))
    named["charter"] = CLEO.signs(ledger, Amendment(1, 2, 3, "we are many"))
    named["recovery"] = CLEO.signs(ledger, Recovery(b"\3" * 32))
    slot = Slot(EPOCH, 1)
    named["vote"] = CLEO.signs(ledger, Vote(slot, 0, named["proposal"].id))
    named["a vote for nothing"] = CLEO.signs(ledger, Vote(slot, 1, None))
    named["lock"] = CLEO.signs(ledger, Lock(slot, 0, named["proposal"].id, (named["vote"].id,)))
    named["commit"] = CLEO.signs(ledger, Commit(slot, 0, named["proposal"].id, (named["lock"].id,)))
    named["checkpoint"] = CLEO.signs(
        ledger,
        Attestation.of(named["proposal"].id, checkpoint_of(fixed(ledger.entries, [ledger.community])), CLEO.seed),
    )
    named["contribution"] = CLEO.receives(ledger, BEN, 3456, period=2)
    named["fork"] = CLEO.signs(ledger, Fork((ledger.genesis.raw,)))
    named["a kind of the future, with two deps"] = _signed(
        ADA, [1, ledger.community, ADA.public, 9, ID, [b"\1" * 32, b"\2" * 32], 1_700_000_000, "policy", [1, [b"x"]]]
    )
    cases: list[Json] = []
    for name, entry in named.items():
        payload = codec.decode_array(entry.raw[:-64], max_bytes=len(entry.raw))
        about: Json = {"id": entry.id.hex(), "community": entry.community.hex(), "author": entry.author.hex()}
        cases.append(case(name, entry.raw, payload=[as_json(item) for item in payload], **about))
    return {
        "about": "Section 2: payload, signature(64); id = SHA-256(payload)",
        "cases": cases,
        "invalid": _no_entries(ledger),
    }


def _signed(person: Person, fields: list[codec.Item]) -> Entry:
    return Entry.parse(_raw(person, codec.encode(fields)))


def _raw(person: Person, payload: bytes) -> bytes:
    fields = codec.decode_array(payload, max_bytes=len(payload))
    community = fields[1] if len(fields) > 1 and isinstance(fields[1], bytes) else b""
    return payload + crypto.sign(person.seed, "entry", community, payload)


def _no_entries(ledger: Ledger) -> list[Json]:
    admit = next(entry for entry in ledger.entries if entry.body.KIND == "admit")  # type: ignore[union-attr]  # a known kind
    fields = codec.decode_array(admit.raw[:-64], max_bytes=len(admit.raw))
    statement = BEN.statement
    body: list[codec.Item] = [BEN.public, statement.static, statement.signature, "ben", "observer"]
    changes: list[tuple[str, int, codec.Item]] = [
        ("another version", 0, 2),
        ("a version that is true", 0, True),
        ("a community of 31 bytes", 1, ID[:31]),
        ("no community, and it is no genesis", 1, bytes(32)),
        ("an author of 31 bytes", 2, ADA.public[:31]),
        ("a first entry with a predecessor", 3, 0),
        ("a negative seq", 3, -1),
        ("a later entry without a predecessor", 4, None),
        ("deps out of order", 5, [b"\2" * 32, b"\1" * 32]),
        ("the same dep twice", 5, [ID, ID]),
        ("the predecessor among the deps", 5, [admit.place.prev]),
        ("more than 64 deps", 5, [bytes([n]) * 32 for n in range(MAX_DEPS + 1)]),
        ("a negative time", 6, -1),
        ("a kind that is no text", 7, 5),
        ("a kind that steers a terminal", 7, "\x1b[2J"),
        ("a genesis that follows another entry", 7, "genesis"),
        ("the body of another kind", 7, "remove"),
        ("a body that is no array", 8, "ben"),
        ("a body with a field too many", 8, [*body, 1]),
        ("a name that is only spaces", 8, [*body[:3], "  ", "observer"]),
        ("a name of 65 characters", 8, [*body[:3], "n" * 65, "observer"]),
        ("a statement of another node's", 8, [BEN.public, CLEO.statement.static, statement.signature, "b", "o"]),
    ]
    wrong = [
        invalid(reason, _raw(ADA, payload))
        for reason, payload in [*varied(fields, changes), ("a field is missing", codec.encode(fields[:-1]))]
    ]
    models: list[tuple[str, str, list[codec.Item]]] = [
        ("a model digest of 31 bytes", "model", [ID[1:], ID, "tiny", "MIT"]),
        ("a model without its release", "model", [ID, "tiny", "MIT"]),
        ("a model whose licence steers a terminal", "model", [ID, ID, "tiny", "\x1b[2J"]),
        ("a model whose licence has 501 characters", "model", [ID, ID, "tiny", "M" * 501]),
        ("a retirement without a reason", "retire", [ID]),
        ("a retirement whose reason has 201 characters", "retire", [ID, "r" * 201]),
    ]
    for reason, kind, said in [*models, *_no_contributions(ledger)]:
        wrong.append(invalid(reason, _raw(ADA, codec.encode([*fields[:7], kind, said]))))
    wrong.append(invalid("signed by another key", admit.raw[:-64] + crypto.sign(BEN.seed, "entry", ID, b"")))
    wrong.append(invalid("one bit of the signature flipped", flipped(admit.raw, -1)))
    wrong.append(invalid("one bit of the payload flipped", flipped(admit.raw, 40)))
    wrong.append(invalid("nothing but a signature", admit.raw[-64:]))
    wrong.append(invalid("cut short", admit.raw[:-1]))
    zeros = MAX_ENTRY_BYTES + 1 - len(admit.raw)
    wrong.append(invalid("longer than 64 KiB: as many zeros follow", admit.raw, zeros=zeros))
    return wrong


def _no_contributions(ledger: Ledger) -> list[tuple[str, str, list[codec.Item]]]:
    """Give bodies that ADA signs and that are none, with BEN's counter-signature where there is one."""
    some = Amount(12, 3456, 98_087_104)
    most: list[codec.Item] = [BEN.public, 2, *some.to_items()]
    community = ledger.community
    bodies: list[tuple[str, list[codec.Item]]] = [
        ("to itself", [ADA.public, *most[1:], counter_sign(ADA.seed, community, ADA.public, 2, some)]),
        ("counter-signed by its receiver", [*most, counter_sign(ADA.seed, community, ADA.public, 2, some)]),
        ("counter-signed for another period", [*most, counter_sign(BEN.seed, community, ADA.public, 3, some)]),
        ("counter-signed for another receiver", [*most, counter_sign(BEN.seed, community, CLEO.public, 2, some)]),
        ("counter-signed for another community", [*most, counter_sign(BEN.seed, ID, ADA.public, 2, some)]),
        ("without a counter-signature", most),
        ("of nothing", [BEN.public, 2, 0, 0, 0, counter_sign(BEN.seed, community, ADA.public, 2, NOTHING)]),
        ("of more than there is", [BEN.public, 2, 12, 2**48 + 1, 0, bytes(64)]),
        ("of a negative period", [BEN.public, -1, *some.to_items(), bytes(64)]),
    ]
    return [(f"a contribution {reason}", "contribution", body) for reason, body in bodies]


def memberships() -> Family:
    """Sets of entries and who is a member by them."""
    return {
        "about": "Section 2, membership: what a set of entries folds to, in whatever order they came",
        "cases": [_folded(name, ledger) for name, ledger in _ledgers().items()],
        "invalid": [],
    }


def _ledgers() -> dict[str, Ledger]:
    founded, admitted = ADA.founds(), ADA.founds()
    ADA.admits(admitted, BEN)
    removed = copy_of(admitted)
    ADA.removes(removed, BEN)
    again = copy_of(removed)
    ADA.admits(again, BEN)
    left = copy_of(admitted)
    BEN.removes(left, BEN)
    # ADA admits BEN anew without having seen that BEN left: the removal outweighs it.
    left_meanwhile = copy_of(admitted)
    before = ADA.signs(copy_of(admitted), _admission(BEN))
    BEN.removes(left_meanwhile, BEN)
    left_meanwhile.add(before)
    rotated = copy_of(admitted)
    ADA.becomes(rotated, CLEO)
    forked = copy_of(founded)
    first, second = copy_of(founded), copy_of(founded)
    for entry in (ADA.admits(first, BEN), ADA.admits(second, CLEO)):
        forked.add(entry)
    not_the_founder = copy_of(admitted)
    BEN.admits(not_the_founder, CLEO)
    decided_on = voters(ADA.founds(), ADA, BEN, CLEO)
    shown_out = copy_of(decided_on)
    decided(shown_out, [ADA, BEN, CLEO], SHOW_OUT, CLEO)
    voter_left = copy_of(decided_on)
    CLEO.removes(voter_left, CLEO)
    refreshed(voter_left, [ADA, BEN])
    recovered = voters(ADA.founds(), ADA, BEN)
    BEN.signs(recovered, Recovery(PAPER.public))
    refreshed(recovered, [ADA, BEN])
    ADA.admits(recovered, CLEO)
    PAPER.signs(recovered, RotateKey(BEN.public, CLEO.statement))
    split, elsewhere = copy_of(decided_on), copy_of(decided_on)
    decided(split, [ADA, BEN, CLEO], SHOW_OUT, CLEO)
    decided(elsewhere, [ADA, BEN, CLEO], SHOW_OUT, BEN)
    for entry in elsewhere.entries:
        split.add(entry)
    return {
        "the founder alone": founded,
        "one admitted": admitted,
        "one admitted and removed": removed,
        "removed and admitted again": again,
        "one who left": left,
        "admitted again at the same time as it left": left_meanwhile,
        "the founder goes on under another key": rotated,
        "two entries of one seq: neither admission counts": forked,
        "an observer admits nobody": not_the_founder,
        "three voters, by decision": decided_on,
        "three voters show one of them out": shown_out,
        "one of three voters leaves, the others take that up": voter_left,
        "a voter's paper gives its seat to another key": recovered,
        "two decisions for one slot: neither is in force": split,
    }


def _admission(person: Person) -> Admit:
    return Admit(person.statement, person.name, "observer")


def _folded(name: str, ledger: Ledger) -> Json:
    membership = fold(ledger.entries)
    members = {
        raw_id.hex(): {"name": one.name, "role": one.role, "public": one.public.hex(), "static": one.static.hex()}
        for raw_id, one in sorted(membership.members.items())
    }
    return {
        "name": name,
        "entries": [entry.raw.hex() for entry in ledger.entries],
        "members": members,
        "number": membership.number,
        "epoch": membership.charter.number,
        "quorum": membership.charter.quorum,
        "rivals": len(membership.rivals),
    }


KEYS = (
    EpochKey(3, BY_VOTER, b"\2" * 16, b"s" * 32),
    EpochKey(3, BY_VOTER, b"\1" * 16, b"t" * 32),
    EpochKey(3, BY_OBSERVER, b"\xff" * 16, b"u" * 32),
)


def epoch_keys() -> Family:
    """Keys, the greatest first."""
    good: list[codec.Item] = [3, 1, b"\2" * 16, b"s" * 32]
    changes: list[tuple[str, int, codec.Item]] = [
        ("a negative number", 0, -1),
        ("a generation that is none", 1, 2),
        ("a generation that is true", 1, True),
        ("an id of 15 bytes", 2, b"\2" * 15),
        ("the id that stands for no key", 2, bytes(16)),
        ("a secret of 33 bytes", 3, b"s" * 33),
    ]
    return {
        "about": "Section 3: epoch keys, the one to send under first",
        "cases": [
            case(
                f"place {place}",
                codec.encode(key.to_item()),
                number=key.number,
                generation=key.generation,
                id=key.id.hex(),
                secret=key.secret.hex(),
            )
            for place, key in enumerate(KEYS)
        ],
        "invalid": [
            *(invalid(reason, data) for reason, data in varied(good, changes)),
            invalid("three fields", codec.encode(good[:3])),
        ],
    }


def exchange() -> Family:
    """Bodies of the kinds 1 to 3."""
    ledger = ADA.founds()
    ADA.admits(ledger, BEN)
    heads: list[codec.Item] = [head.to_item() for head in ledger.heads()]
    batch: list[codec.Item] = [entry.raw for entry in ledger.entries]
    keys: list[codec.Item] = [key.to_item() for key in KEYS]
    ids: list[codec.Item] = [key.id for key in KEYS]
    good: dict[int, tuple[str, list[codec.Item]]] = {
        1: ("HEADS", [heads, 3, ids]),
        2: ("ENTRIES", [True, batch]),
        3: ("EPOCH_KEYS", keys),
    }
    bad: list[tuple[str, int, codec.Item]] = [
        ("two fields", 1, [heads, 3]),
        ("a head without its id", 1, [[[ADA.public, 1]], 3, ids]),
        ("a head with a seq that is none", 1, [[[ADA.public, -1, ID]], 3, ids]),
        ("more key ids than anyone holds", 1, [heads, 3, [bytes([n]) * 16 for n in range(17)]]),
        ("a membership number that is none", 1, [heads, None, ids]),
        ("`more` is no truth value", 2, [1, batch]),
        ("an entry that is no bytes", 2, [False, ["entry"]]),
        ("an entry that is none", 2, [False, [b"entry"]]),
        ("an entry with one bit flipped", 2, [False, [flipped(ledger.genesis.raw, 50)]]),
        ("a key of three fields", 3, [[3, 1, b"\2" * 16]]),
        ("65 keys", 3, [[3, 1, bytes([n + 1]) * 16, b"s" * 32] for n in range(65)]),
        ("a kind of the mesh's own that is none", 15, []),
    ]
    return {
        "about": "Section 6: bodies of the messages that keep ledgers and epoch keys equal, by message kind",
        "cases": [case(name, codec.encode(body), kind=kind, body=as_json(body)) for kind, (name, body) in good.items()],
        "invalid": [invalid(reason, codec.encode(body), kind=kind) for reason, kind, body in bad],
    }
