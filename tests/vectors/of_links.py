"""Vectors of what travels between linked nodes: frames, handshakes, sealed messages, envelopes."""

from dataclasses import replace

from mesh.core import codec
from mesh.core.envelope import Envelope, StreamPlace
from mesh.core.epochs import EpochKey, KeyRing
from mesh.core.frames import HOP_LIMIT, Frame, FrameType, Header, Lane
from mesh.core.lane import Answer, Ends, Established, LaneSessions
from tests.mesh.core.world import Person
from tests.vectors.family import Family, Json, as_json, case, fixed_random, flipped, invalid, varied

ADA, BEN, CLEO = Person("ada"), Person("ben"), Person("cleo")
COMMUNITY = b"c" * 32
OLD, NEW = EpochKey(0, 1, b"o" * 16, b"O" * 32), EpochKey(0, 1, b"p" * 16, b"P" * 32)
ADAS_INDEX, BENS_INDEX = 0x0A0A0A0A, 0x0B0B0B0B


def frames() -> Family:
    """The fixed header and what follows it."""
    made = {
        "H1 on ctl": Frame(Header(FrameType.H1, Lane.CTL, ADA.raw_id, BEN.raw_id, 0), b"noise message 1"),
        "H2 on bulk": Frame(
            Header(FrameType.H2, Lane.BULK, BEN.raw_id, ADA.raw_id, ADAS_INDEX), b"noise message 2", key_id=OLD.id
        ),
        "DATA after 3 hops": Frame(
            Header(FrameType.DATA, Lane.CTL, ADA.raw_id, BEN.raw_id, BENS_INDEX, hop=3, routed=True),
            b"sealed envelope",
            counter=2**40 + 1,
        ),
    }
    good = made["DATA after 3 hops"].to_bytes()
    wrong = {
        "71 bytes": good[:71],
        "a DATA frame without its whole counter": good[:79],
        "an H2 frame without its whole key id": made["H2 on bulk"].to_bytes()[:87],
        "an unknown type": b"\x14" + good[1:],
        "17 hops": good[:1] + bytes([HOP_LIMIT + 1]) + good[2:],
        "an unknown lane": good[:2] + b"\2" + good[3:],
        "an unknown flag": good[:3] + b"\2" + good[4:],
        "H1 that names a receiver": b"\x11" + good[1:],
    }
    return {
        "about": "Section 6: the header of 72 bytes and what follows; `associated` is what a seal covers",
        "cases": [_frame(name, frame) for name, frame in made.items()],
        "invalid": [
            *(invalid(reason, data) for reason, data in wrong.items()),
            invalid("one byte more than a mebibyte: as many zeros follow", good, zeros=2**20 + 1 - len(good)),
        ],
    }


def _frame(name: str, frame: Frame) -> Json:
    header = frame.header
    return case(
        name,
        frame.to_bytes(),
        type=header.type,
        hop=header.hop,
        lane=header.lane,
        routed=header.routed,
        source=header.source.hex(),
        destination=header.destination.hex(),
        receiver_index=header.receiver_index,
        key_id=frame.key_id.hex(),
        counter=frame.counter,
        body=frame.body.hex(),
        associated=header.associated().hex(),
    )


def envelopes() -> Family:
    """What a seal holds."""
    made = {
        "of the mesh": Envelope(1, b"m" * 16, None, 30_000, b"\x80"),
        "of the device, an answer": Envelope(18, b"m" * 16, b"r" * 16, 0, b"body", StreamPlace(b"stream__", 5, 3)),
        "the greatest numbers": Envelope(
            2**16 - 1, b"\xff" * 16, None, 7 * 24 * 3600 * 1000, b"", StreamPlace(bytes(8), 2**62, 2**62)
        ),
    }
    good: list[codec.Item] = [17, b"m" * 16, None, 1000, b"body", [b"stream__", 5, 3]]
    changes: list[tuple[str, int, codec.Item]] = [
        ("a negative kind", 0, -1),
        ("kind 65536", 0, 2**16),
        ("a message id of 15 bytes", 1, b"m" * 15),
        ("a reply to 17 bytes", 2, b"r" * 17),
        ("a time to live of more than a week", 3, 7 * 24 * 3600 * 1000 + 1),
        ("a time to live that is true", 3, True),
        ("a body of text", 4, "body"),
        ("a stream of 7 bytes", 5, [b"stream_", 5, 3]),
        ("a place of two fields", 5, [b"stream__", 5]),
        ("a negative seq", 5, [b"stream__", -1, 0]),
    ]
    return {
        "about": "Section 6: the plaintext of a DATA frame",
        "cases": [_envelope(name, envelope) for name, envelope in made.items()],
        "invalid": [
            *(invalid(reason, data) for reason, data in varied(good, changes)),
            invalid("five fields", codec.encode(good[:5])),
        ],
    }


def _envelope(name: str, envelope: Envelope) -> Json:
    place = envelope.place
    return case(
        name,
        envelope.to_bytes(),
        kind=envelope.kind,
        message_id=envelope.message_id.hex(),
        re=None if envelope.re is None else envelope.re.hex(),
        ttl_ms=envelope.ttl_ms,
        body=envelope.body.hex(),
        place=None
        if place is None
        else {"stream": place.stream.hex(), "seq": as_json(place.seq), "base": as_json(place.base)},
    )


def _lane(me: Person, other: Person, lane: Lane, *, routed: bool, static: Person | None = None) -> LaneSessions:
    secret = (static or me).static_secret
    ends = Ends(me.raw_id, other.raw_id, secret, other.statement.static, COMMUNITY)
    return LaneSessions(ends, lane, routed=routed)


def sessions() -> Family:
    """Whole handshakes, and the first frames of their sessions."""
    cases = [
        _handshake("both share the greatest key", (NEW, OLD), (NEW, OLD), Lane.CTL, routed=False),
        _handshake("only the lesser key is shared", (NEW, OLD), (OLD,), Lane.BULK, routed=False),
        _handshake("no key is shared: a catch-up session", (NEW,), (), Lane.CTL, routed=False),
        _handshake("over relays", (OLD,), (OLD,), Lane.CTL, routed=True),
    ]
    return {
        "about": (
            "Section 6: Noise IKpsk2. Initiator ada, responder ben; frames: H1, H2, CONFIRM (counter 0), then one of "
            "the responder's (counter 0) and one of the initiator's (counter 1). `invalid` is for the first case, to "
            "`to` after `after` frames of it"
        ),
        "cases": cases,
        "invalid": _no_session(cases[0]),
    }


def _handshake(name: str, adas: tuple[EpochKey, ...], bens: tuple[EpochKey, ...], lane: Lane, *, routed: bool) -> Json:
    ada, ben = _lane(ADA, BEN, lane, routed=routed), _lane(BEN, ADA, lane, routed=routed)
    ring, bens_ring = KeyRing(0, adas), KeyRing(0, bens)
    plaintexts = [Envelope(0, b"m" * 16, None, 0, b""), Envelope(1, b"n" * 16, None, 30_000, b"\x80")]
    plaintexts.append(Envelope(16, b"o" * 16, b"m" * 16, 1000, b"hello", StreamPlace(b"stream__", 0, 0)))
    confirm, first, second = (envelope.to_bytes() for envelope in plaintexts)
    adas_ephemeral, bens_ephemeral = fixed_random("ada")(32), fixed_random("ben")(32)
    said = [ada.begin(ring, now=0.0, index=ADAS_INDEX, ephemeral=adas_ephemeral)]
    [answer] = ben.receive(Frame.parse(said[0]), bens_ring, now=0.0, index=BENS_INDEX, ephemeral=bens_ephemeral)
    assert isinstance(answer, Answer)
    said.append(answer.frame)
    [established] = ada.receive(Frame.parse(answer.frame), ring, now=0.0, index=0, ephemeral=bytes(32))
    assert isinstance(established, Established)
    assert established.confirm is not None
    said.append(established.confirm(confirm))
    ben.receive(Frame.parse(said[2]), bens_ring, now=0.0, index=0, ephemeral=bytes(32))
    said += [ben.seal(first), ada.seal(second)]
    return {
        "name": name,
        "community": COMMUNITY.hex(),
        "lane": lane,
        "routed": routed,
        "initiator": _party(ADA, adas, ADAS_INDEX, adas_ephemeral),
        "responder": _party(BEN, bens, BENS_INDEX, bens_ephemeral),
        "plaintexts": [confirm.hex(), first.hex(), second.hex()],
        "frames": [data.hex() for data in said],
    }


def _party(person: Person, keys: tuple[EpochKey, ...], index: int, ephemeral: bytes) -> Json:
    return {
        "raw_id": person.raw_id.hex(),
        "static_secret": person.static_secret.hex(),
        "static": person.statement.static.hex(),
        "ephemeral": ephemeral.hex(),
        "index": index,
        "epoch_keys": [
            {"number": key.number, "generation": key.generation, "id": key.id.hex(), "secret": key.secret.hex()}
            for key in keys
        ],
    }


def _no_session(whole: Json) -> list[Json]:
    said = [bytes.fromhex(data) for data in whole["frames"]]  # type: ignore[attr-defined]  # a list of texts
    h1, h2, confirm, _, data = said
    parsed = Frame.parse(h2)
    other_static = _lane(ADA, BEN, Lane.CTL, routed=False, static=CLEO)
    stolen = other_static.begin(KeyRing(0, (NEW,)), now=0.0, index=ADAS_INDEX, ephemeral=fixed_random("ada")(32))
    moved = Frame.parse(data)
    wrong: list[tuple[str, str, int, bytes]] = [
        ("responder", "H1 with one bit of the message flipped", 0, flipped(h1, -1)),
        ("responder", "H1 to another node", 0, flipped(h1, 36)),
        ("responder", "H1 from another node", 0, flipped(h1, 4)),
        ("responder", "H1 of the other lane", 0, flipped(h1, 2)),
        ("responder", "H1 with the flag of a session over relays", 0, flipped(h1, 3)),
        ("responder", "H1 under another static key than the ledger's", 0, stolen),
        ("responder", "H1 cut short", 0, h1[:100]),
        ("initiator", "H2 with one bit of the message flipped", 1, flipped(h2, -1)),
        ("initiator", "H2 under a key that was not offered", 1, replace(parsed, key_id=b"?" * 16).to_bytes()),
        ("initiator", "H2 that says no key is shared", 1, replace(parsed, key_id=bytes(16)).to_bytes()),
        ("initiator", "H2 cut short", 1, h2[:100]),
        ("responder", "a frame with one bit of the seal flipped", 4, flipped(data, -1)),
        ("responder", "a frame under another counter", 4, replace(moved, counter=7).to_bytes()),
        ("responder", "a frame of the other lane", 4, flipped(data, 2)),
        ("responder", "a frame from another node", 4, flipped(data, 4)),
        ("responder", "a frame cut short", 4, data[:90]),
        ("responder", "a frame seen before", 3, confirm),
    ]
    return [invalid(reason, frame, to=to, after=after) for to, reason, after, frame in wrong]
