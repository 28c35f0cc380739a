"""Vectors of the primitives: encoding, keys and ids, signatures, seals."""

from mesh.core import codec, crypto
from mesh.identity import Identity, fingerprint
from tests.mesh.core.world import Person
from tests.vectors.family import Family, Json, as_json, case, flipped, invalid, varied

ADA, BEN, CLEO = Person("ada"), Person("ben"), Person("cleo")
ITEMS: dict[str, codec.Item] = {
    "zero": 0,
    "the last integer of one byte": 23,
    "the first integer of two bytes": 24,
    "256": 256,
    "65536": 65_536,
    "2^32": 2**32,
    "the greatest integer": 2**64 - 1,
    "-1": -1,
    "the least integer": -(2**63),
    "no bytes": b"",
    "24 bytes": b"x" * 24,
    "no text": "",
    "text beyond ASCII": "Küche",
    "false": False,
    "true": True,
    "null": None,
    "an empty array": [],
    "arrays in arrays": [1, [b"two", ["three", [None, [True]]]]],
    "24 items": [0] * 24,
}
NOT_OURS: dict[str, bytes] = {
    "nothing": b"",
    "a map": b"\xa0",
    "1 in two bytes": b"\x18\x01",
    "24 in three bytes": b"\x19\x00\x18",
    "a length in more bytes than it needs": b"\x58\x01a",
    "bytes behind the item": b"\x01\x02",
    "an array of indefinite length": b"\x9f\xff",
    "a byte string in pieces": b"\x5f\x41a\xff",
    "a tag (bignum)": b"\xc2\x41\x01",
    "a tag (regular expression)": b"\xd8\x23\x61a",
    "a float of half precision": b"\xf9\x3c\x00",
    "a float of double precision": b"\xfb" + bytes(8),
    "undefined": b"\xf7",
    "a simple value that is none of ours": b"\xe0",
    "text that is not UTF-8": b"\x61\xff",
    "an integer below -2^63": b"\x3b\x80" + bytes(7),
    "an array cut short": b"\x82\x01",
    "a byte string cut short": b"\x42a",
    "an array that claims 2^33 items": b"\x9b\x00\x00\x00\x02" + bytes(4),
    "17 arrays in one another": b"\x81" * 16 + b"\x80",
}


def encoding() -> Family:
    """Every type of the encoding."""
    return {
        "about": "Deterministic CBOR as docs/protocol.md restricts it: one item, one encoding",
        "cases": [case(name, codec.encode(item), item=as_json(item)) for name, item in ITEMS.items()],
        "invalid": [invalid(reason, data) for reason, data in NOT_OURS.items()],
    }


def identities() -> Family:
    """Keys, ids, statements and the file that holds them."""
    cases: list[Json] = []
    for person in (ADA, BEN, CLEO):
        statement = person.statement
        cases.append(
            case(
                person.name,
                Identity(person.seed, person.static_secret, statement).to_bytes(),
                seed=person.seed.hex(),
                static_secret=person.static_secret.hex(),
                public=statement.public.hex(),
                static=statement.static.hex(),
                statement=statement.signature.hex(),
                raw_id=statement.raw_id.hex(),
                node_id=statement.node_id,
                fingerprint=fingerprint(statement.node_id),
            )
        )
    signature = ADA.statement.signature
    good: list[codec.Item] = [1, ADA.seed, ADA.static_secret, signature]
    changes: list[tuple[str, int, codec.Item]] = [
        ("another version", 0, 2),
        ("a seed of 31 bytes", 1, ADA.seed[:31]),
        ("the seed of another node", 1, BEN.seed),
        ("the static key of another node: the statement does not name it", 2, BEN.static_secret),
        ("the statement of another node", 3, BEN.statement.signature),
        ("a statement with one bit flipped", 3, flipped(signature, 10)),
        (
            "a statement for a community",
            3,
            crypto.sign(ADA.seed, "identity", b"c" * 32, codec.encode([ADA.public, ADA.statement.static])),
        ),
    ]
    return {
        "about": "Section 1: keys, raw id, node id, fingerprint, identity statement; `bytes` is the file mesh/identity",
        "cases": cases,
        "invalid": [invalid(reason, data) for reason, data in varied(good, changes)],
    }


def signatures() -> Family:
    """Signatures of each kind, and what one is not good for."""
    community, data = b"c" * 32, b"payload"
    cases, wrong = list[Json](), list[Json]()
    kinds = ("entry", "identity", "announcement", "contribution")
    for kind, where in ((kind, crypto.NO_COMMUNITY if kind == "identity" else community) for kind in kinds):
        signature = crypto.sign(ADA.seed, kind, where, data)
        about: Json = {"kind": kind, "community": where.hex(), "data": data.hex(), "public": ADA.public.hex()}
        cases.append(case(kind, signature, seed=ADA.seed.hex(), **about))
        for reason, change in {
            "signed as another kind": {"kind": "entry" if kind != "entry" else "identity"},
            "signed for another community": {"community": (b"d" * 32).hex()},
            "other bytes": {"data": b"payloae".hex()},
            "another key": {"public": BEN.public.hex()},
        }.items():
            wrong.append(invalid(reason, signature, **{**about, **change}))
        wrong.append(invalid("one bit flipped", flipped(signature, 40), **about))
        wrong.append(invalid("cut short", signature[:-1], **about))
    return {"about": "Ed25519 over a prefix, the community and the bytes", "cases": cases, "invalid": wrong}


def seals() -> Family:
    """Seals with their counters."""
    key, associated, text = b"k" * 32, b"header", b"hello"
    cases = [
        case(
            f"counter {counter}",
            crypto.seal(key, counter, associated, text),
            key=key.hex(),
            counter=as_json(counter),
            associated=associated.hex(),
            plaintext=text.hex(),
        )
        for counter in (0, 1, 2**32, 2**63)
    ]
    sealed = crypto.seal(key, 0, associated, text)
    about: Json = {"key": key.hex(), "counter": 0, "associated": associated.hex()}
    wrong = [
        invalid("one bit flipped", flipped(sealed, 0), **about),
        invalid("the tag cut off", sealed[:-16], **about),
        invalid("shorter than a tag", sealed[:15], **about),
        invalid("another counter", sealed, **{**about, "counter": 1}),
        invalid("other associated data", sealed, **{**about, "associated": "00"}),
        invalid("another key", sealed, **{**about, "key": (b"l" * 32).hex()}),
    ]
    return {"about": "ChaCha20-Poly1305 with nonce = 0(4), counter(8, little endian)", "cases": cases, "invalid": wrong}
