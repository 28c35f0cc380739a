"""Vectors of what leaves the mesh: a model's release, for anybody who has an Ed25519 library."""

import json

from mesh.core import crypto
from models.core import canonical_json
from models.core.card import Card, Parent, Tool
from models.core.manifest import Blob, Manifest
from models.core.release import PREFIX, Release
from tests.vectors.family import Family, Json, case, flipped, invalid

SEED = bytes(range(32))
PUBLIC = crypto.ed25519_public(SEED)
GGUF, TEMPLATE = Blob("gguf", "a1" * 32, 98_362_432), Blob("template", "b2" * 32, 190)
FULL = Card(
    name="Étoile 135M",
    description="Short answers",
    licence="Apache-2.0",
    languages=("en", "pt-BR"),
    bad_at="facts,\nsums",
    architecture="llama",
    parameters=134_515_008,
    quantisation="Q4_1",
    context_tokens=8192,
    parents=(Parent(name="Étoile 135M base", digest="d4" * 32, relation="quantised"),),
    tools=(Tool(name="llama.cpp", version="b4000"),),
)


def releases() -> Family:
    """A release with all of a card, and one with as little as there can be."""
    full = _made(Manifest.of([GGUF, TEMPLATE]), FULL)
    bare = _made(Manifest.of([GGUF]), Card(name="bare", licence="MIT"))
    data = full.to_bytes()
    fields = json.loads(data)
    return {
        "about": "docs/model-cards.md: a release is canonical JSON; its Ed25519 signature (RFC 8032) is of `message`",
        "cases": [_case("with all of a card", full), _case("one blob, a card that knows little", bare)],
        "invalid": [
            invalid("no signature", _without(fields, "signature")),
            invalid("signed by another key", data.replace(PUBLIC.hex().encode(), b"00" * 32)),
            invalid("one bit of the signature is another", flipped(data, data.index(b'"signature":"') + 13)),
            invalid("another size", data.replace(b"98362432", b"98362433")),
            invalid("not canonical: spaces", json.dumps(fields, sort_keys=True).encode()),
            invalid("not canonical: a key twice", b'{"card":{},' + data[1:]),
            invalid("not canonical: UTF-8", data.replace(b"\\u00c9", "É".encode())),
            invalid(
                "well signed, but the root of one tree is missing", _signed(fields | {"trees": {"a1" * 32: "c3" * 32}})
            ),
            invalid("well signed, but a field too many", _signed(fields | {"path": "../../etc/passwd"})),
            invalid("well signed, but the card lacks a field", _signed(fields | {"card": _shortened(fields["card"])})),
            invalid(
                "well signed, but a name steers the terminal",
                _signed(fields | {"card": fields["card"] | {"name": "\x1b[2J"}}),
            ),
        ],
    }


def _made(manifest: Manifest, card: Card) -> Release:
    trees = {blob.sha256: "c3" * 32 for blob in manifest.blobs}
    return Release.make(manifest, trees, card, PUBLIC, sign=lambda message: crypto.sign_plainly(SEED, message))


def _case(name: str, release: Release) -> Json:
    return case(
        name,
        release.to_bytes(),
        seed=SEED.hex(),
        public=PUBLIC.hex(),
        message=release.message().hex(),
        signature=release.signature.hex(),
        manifest_digest=release.digest,
        card=release.card.to_fields(),
    )


def _without(fields: dict[str, object], name: str) -> bytes:
    return canonical_json.dumps({key: value for key, value in fields.items() if key != name})


def _signed(fields: dict[str, object]) -> bytes:
    """Sign whatever it is: a hostile publisher's release."""
    message = PREFIX + _without(fields, "signature")
    return canonical_json.dumps(fields | {"signature": crypto.sign_plainly(SEED, message).hex()})


def _shortened(card: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in card.items() if key != "licence"}
