"""Vectors of contributions: the bodies of kinds 23 and 24."""

from device.core.contribution_messages import Claim, CounterSigned
from mesh.core import codec
from mesh.core.codec import Item
from mesh.core.contributions import MAX_AMOUNT, MAX_PERIOD, MOST, Amount, counter_sign
from tests.mesh.core.world import Person
from tests.vectors.family import Family, case, invalid

ADA, BEN = Person("ada"), Person("ben")
COMMUNITY = b"c" * 32
SOME = Amount(12, 3456, 98_087_104)


def contributions() -> Family:
    """One message of each kind, and what is none."""
    signature = counter_sign(ADA.seed, COMMUNITY, BEN.public, 2, SOME)
    ends = {"community": COMMUNITY.hex(), "giver": ADA.public.hex(), "receiver": BEN.public.hex()}
    some, most = _fields(SOME), _fields(MOST)
    cases = [
        case("CLAIM", Claim(2, SOME).to_body(), kind=23, period=2, **some),
        case("CLAIM, as much as there is", Claim(MAX_PERIOD, MOST).to_body(), kind=23, period=MAX_PERIOD, **most),
        case(
            "COUNTERSIGNED",
            CounterSigned(2, SOME, signature).to_body(),
            kind=24,
            period=2,
            signature=signature.hex(),
            **some,
            **ends,
        ),
    ]
    return {
        "about": "Section 7: bodies of the messages about contributions, by kind; the signature is the giver's",
        "cases": cases,
        "invalid": [invalid(reason, codec.encode(body), kind=kind) for reason, kind, body in _none()],
    }


def _fields(amount: Amount) -> dict[str, int]:
    return {"answers": amount.answers, "tokens": amount.tokens, "model_bytes": amount.model_bytes}


def _none() -> list[tuple[str, int, list[Item]]]:
    return [
        ("a claim of nothing", 23, [0, 0, 0, 0]),
        ("a claim of more than there is", 23, [0, 0, MAX_AMOUNT + 1, 0]),
        ("a claim of a negative amount", 23, [0, 1, 1, -1]),
        ("a period that is too late", 23, [MAX_PERIOD + 1, 1, 1, 1]),
        ("a period that is true", 23, [True, 1, 1, 1]),
        ("a claim with a signature", 23, [0, 1, 1, 1, bytes(64)]),
        ("no signature", 24, [0, 1, 1, 1]),
        ("a signature of 63 bytes", 24, [0, 1, 1, 1, bytes(63)]),
    ]
