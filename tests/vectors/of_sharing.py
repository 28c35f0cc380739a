"""Vectors of models on their way: the bodies of kinds 32 to 40."""

from device.core.sharing_messages import (
    GiveChunk,
    GiveHolding,
    GivePage,
    GiveRelease,
    Refused,
    WantChunks,
    WantHolding,
    WantPage,
    WantRelease,
)
from mesh.core import codec
from mesh.core.codec import Item
from tests.vectors.family import Family, case, invalid

MODEL, BLOB = b"d" * 32, b"b" * 32


def sharing() -> Family:
    """One message of each kind, and what is none."""
    model, blob = MODEL.hex(), BLOB.hex()
    page = b"h" * 64
    cases = [
        case("WANT_RELEASE", WantRelease(model).to_body(), kind=32, model=model),
        case("GIVE_RELEASE", GiveRelease(b"{}").to_body(), kind=33, data=b"{}".hex()),
        case("WANT_HOLDING", WantHolding(model).to_body(), kind=34, model=model),
        case("GIVE_HOLDING, all of it", GiveHolding({blob: None}).to_body(), kind=35, blobs={blob: None}),
        case(
            "GIVE_HOLDING, chunks 0, 2 and 9 of 10",
            GiveHolding({blob: b"\x05\x02"}).to_body(),
            kind=35,
            blobs={blob: "0502"},
        ),
        case(
            "WANT_CHUNKS",
            WantChunks(model, blob, (19_073, 0)).to_body(),
            kind=36,
            model=model,
            blob=blob,
            indexes=[19_073, 0],
        ),
        case("GIVE_CHUNK", GiveChunk(19_073, b"GGUF").to_body(), kind=37, index=19_073, data=b"GGUF".hex()),
        case("WANT_PAGE", WantPage(model, blob, 1, 0).to_body(), kind=38, model=model, blob=blob, level=1, index=0),
        case("GIVE_PAGE", GivePage(page).to_body(), kind=39, data=page.hex()),
        case("REFUSED", Refused("not_here").to_body(), kind=40, refused="not_here", index=None),
        case("REFUSED, one chunk of several", Refused("busy", 7).to_body(), kind=40, refused="busy", index=7),
    ]
    return {
        "about": "Section 7: bodies of the messages about models on their way, by kind",
        "cases": cases,
        "invalid": [
            *(invalid(reason, codec.encode(body), kind=kind) for reason, kind, body in _none()),
            invalid("a release of no bytes", b"", kind=33),
            invalid("a chunk of no bytes", bytes(4), kind=37),
            invalid("a page that ends within a hash", bytes(33), kind=39),
        ],
    }


def _none() -> list[tuple[str, int, list[Item]]]:
    return [
        ("a digest of 31 bytes", 32, [MODEL[:31]]),
        ("a model without its digest", 34, []),
        ("a blob told of twice", 35, [[BLOB, None], [BLOB, None]]),
        ("three blobs", 35, [[bytes([n]) * 32, None] for n in range(3)]),
        ("a bitmap that is a number", 35, [[BLOB, 5]]),
        ("no chunk at all", 36, [MODEL, BLOB, []]),
        ("a chunk twice", 36, [MODEL, BLOB, [1, 1]]),
        ("seventeen chunks", 36, [MODEL, BLOB, list(range(17))]),
        ("a chunk before the first", 36, [MODEL, BLOB, [-1]]),
        ("a chunk beyond the largest blob", 36, [MODEL, BLOB, [2**25 + 1]]),
        ("a level that no tree has", 38, [MODEL, BLOB, 3, 0]),
        ("a reason that is none", 40, ["tired"]),
        ("a chunk refused that cannot be", 40, ["busy", -1]),
    ]
