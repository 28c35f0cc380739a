"""Entry points of the mesh: what strangers, neighbours and relays send."""

import contextlib
import functools
import random
import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from zeroconf.asyncio import AsyncServiceInfo

from mesh import addresses
from mesh.community import CommunityStore
from mesh.core import codec, crypto, mqtt_packets
from mesh.core.announcements import Announcement, Head
from mesh.core.door_messages import DoorReader, Grant, Ports, parse_message
from mesh.core.enrolment import Applicant, Owner, Place
from mesh.core.entries import Entry
from mesh.core.envelope import Envelope
from mesh.core.epochs import EpochKey, KeyRing
from mesh.core.frames import Frame, Lane, one_hop_on
from mesh.core.joiner import Joiner
from mesh.core.lane import Ends, LaneSessions
from mesh.core.ledger import Head as LedgerHead
from mesh.core.notes import Note, key_name
from mesh.core.offerer import Offerer
from mesh.core.pairing import Admission, Form, Introduction, PairingKey, derive_key
from mesh.core.record import RecordFile, snapshot_of
from mesh.core.record_check import RecordCheck
from mesh.core.routes import LinksAdvert, RouteTable
from mesh.core.statement import IdentityStatement
from mesh.core.streams import Ack, ReceiveStream
from mesh.core.topic_policy import CommonName
from mesh.core.tree_order import in_order
from mesh.discovery import SERVICE, sighting_of
from mesh.errors import MeshError, PeerMisbehavedError, RecordRefusedError
from mesh.identity import Identity
from mesh.sync import LedgerSync
from tests.fuzz.target import Target
from tests.mesh.core.world import Person
from tests.vectors.reading import cases, data_of, invalid

ADA, BEN = Person("ada"), Person("ben")
COMMUNITY = b"c" * 32
KEY = PairingKey(Form.WORDS, b"p" * 32, b"q" * 32)
WORDLIST = resources.files("mesh.core").joinpath("wordlist.txt").read_text().split()
MAX_MESSAGE = 1024 * 1024


def parse_codec(data: bytes) -> None:
    """One item; it has one encoding."""
    with contextlib.suppress(PeerMisbehavedError):
        assert codec.encode(codec.decode(data, max_bytes=MAX_MESSAGE)) == data


def parse_frame(data: bytes) -> None:
    """A frame writes itself back; a relay changes its hop and nothing else."""
    with contextlib.suppress(PeerMisbehavedError):
        frame = Frame.parse(data)
        assert frame.to_bytes() == data
        onward = Frame.parse(one_hop_on(data))
        assert (onward.body, onward.header.hop) == (frame.body, frame.header.hop + 1)
        assert onward.header.associated() == frame.header.associated()


def parse_envelope(data: bytes) -> None:
    """An envelope writes itself back; a numbered one goes through its stream."""
    with contextlib.suppress(PeerMisbehavedError):
        envelope = Envelope.parse(data)
        assert envelope.to_bytes() == data
        stream = ReceiveStream()
        stream.receive(envelope)
        stream.receive(envelope)
        assert stream.acknowledgement() is not None


def parse_entry(data: bytes) -> None:
    """A ledger entry, also without its signatures being looked at: from then on everything is the parser's."""
    for trusted in (False, True):
        with contextlib.suppress(PeerMisbehavedError):
            entry = Entry.parse(data, trusted=trusted)
            payload = codec.decode_array(data[: -crypto.SIGNATURE_BYTES], max_bytes=len(data))
            assert (type(payload[0]), payload[3]) == (int, entry.seq)


def parse_note(data: bytes) -> None:
    """A signed note; it has one form."""
    with contextlib.suppress(PeerMisbehavedError):
        note = Note.parse(data)
        assert note.to_bytes() == data
        note.signers([ADA.public], name=key_name(COMMUNITY))


def parse_record(data: bytes) -> None:
    """An exported record, in two pieces: it holds as it was written, or is refused."""
    check = RecordCheck()
    with contextlib.suppress(RecordRefusedError):
        for half in (data[: len(data) // 2], data[len(data) // 2 :]):
            check.receive(half)
        check.finish()
        assert sorted(data.splitlines()) in [sorted(one.splitlines()) for one in _exported()]  # signers in any order


def parse_announcement(data: bytes) -> None:
    """An announcement, the advert in it, and the routes it gives."""
    with contextlib.suppress(PeerMisbehavedError):
        announcement = Announcement.parse(data)
        head = announcement.head
        assert Head.parse(head.to_item()) == head
        parse_advert(announcement.body)


def parse_advert(data: bytes) -> None:
    """An advert of links, and the routes it gives."""
    with contextlib.suppress(PeerMisbehavedError):
        advert = LinksAdvert.parse(data)
        table = RouteTable(ADA.raw_id)
        table.update({BEN.raw_id: 10}, {BEN.raw_id: advert, ADA.raw_id: advert})
        assert set(table.reachable()) == {BEN.raw_id}
        if advert.place is not None:
            for address in advert.place.addresses:
                addresses.is_dialable(address, advert.place.mqtt_port)


def parse_acknowledgement(data: bytes) -> None:
    """An ACK."""
    with contextlib.suppress(PeerMisbehavedError):
        Ack.parse(data)


def parse_items(data: bytes) -> None:
    """What stands inside sealed messages: keys, heads, grants, ports, admissions, introductions."""
    with contextlib.suppress(PeerMisbehavedError):
        Admission.parse(data)
    with contextlib.suppress(PeerMisbehavedError):
        Introduction.parse(data, BEN.statement.static)
    with contextlib.suppress(PeerMisbehavedError):
        item = codec.decode(data, max_bytes=len(data))
        for parse in (EpochKey.parse, LedgerHead.parse, Head.parse, Grant.parse, Ports.parse):
            with contextlib.suppress(PeerMisbehavedError):
                parse(item)
        match item:
            case [public, static, signature]:
                IdentityStatement.parse(public, static, signature).verify()


@functools.cache
def _store() -> CommunityStore:
    folder = Path(tempfile.mkdtemp(prefix="hearth-fuzz-"))
    identity = Identity(ADA.seed, ADA.static_secret, ADA.statement)
    store = CommunityStore(folder / "community.db", identity)
    store.enter(ADA.founds(), [])
    return store


class _Peer:
    peer_id = BEN.statement.node_id

    def send(self, kind: int, body: bytes, *, ttl_s: float) -> bytes:
        """Take a message; what is sent must be sound."""
        assert Envelope(kind, bytes(16), None, round(ttl_s * 1000), body).to_bytes()
        return bytes(16)


def parse_exchange(data: bytes) -> None:
    """A message that keeps ledgers and keys equal; the first byte is its kind."""
    if not data:
        return
    peer = _Peer()
    sync = LedgerSync(_store(), own_id="a" * 52, peers=lambda: [peer], on_ledger=_nothing, on_keys=_nothing)
    with contextlib.suppress(MeshError):
        sync.receive(peer, Envelope(data[0] % 16, bytes(16), None, 0, data[1:]))


def _nothing() -> None:
    """Do nothing."""


def parse_door(data: bytes) -> None:
    """A stranger's bytes at the door, told to an offerer and a joiner that wait."""
    draw = random.Random(1).randbytes  # noqa: S311  the same each time
    one = Introduction(ADA.statement, "ada", b"tls")
    offerer = Offerer(one, ADA.static_secret, keys=(KEY,), begin_try=lambda: None, random=draw)
    joiner = Joiner(one, ADA.static_secret, key=KEY, random=draw)
    reader = DoorReader()
    with contextlib.suppress(MeshError):
        for half in (data[: len(data) // 2], data[len(data) // 2 :]):
            for message in reader.receive(half):
                for end in (offerer, joiner):
                    with contextlib.suppress(MeshError):
                        reply, event = end.receive(*parse_message(message))
                        assert event is None
                        assert len(reply) <= 4098


def parse_enrolment(data: bytes) -> None:
    """Noise messages from outside, at either end of an enrolment and of a session."""
    place = Place(COMMUNITY, ADA.raw_id)
    with contextlib.suppress(PeerMisbehavedError):
        Owner(place, ADA.static_secret, ephemeral=b"e" * 32).request(data)
    applicant = Applicant(place, ADA.static_secret, owner_static=BEN.statement.static, ephemeral=b"e" * 32)
    applicant.request(b"tls")
    with contextlib.suppress(MeshError):
        applicant.granted(*parse_message(data))


def parse_session(data: bytes) -> None:
    """A frame at a lane that has begun a handshake: nothing is believed, and the lane lives on."""
    ends = Ends(BEN.raw_id, ADA.raw_id, BEN.static_secret, ADA.statement.static, COMMUNITY)
    lane = LaneSessions(ends, Lane.CTL)
    lane.begin(KeyRing(0), now=0.0, index=1, ephemeral=b"e" * 32)
    with contextlib.suppress(PeerMisbehavedError):
        lane.receive(Frame.parse(data), KeyRing(0), now=0.0, index=2, ephemeral=b"f" * 32)
    assert not lane.is_open


def parse_mqtt(data: bytes) -> None:
    """A client's packet at the gate: first byte, then the body."""
    if not data:
        return
    first, body = data[0], data[1:]
    with contextlib.suppress(PeerMisbehavedError):
        kind = mqtt_packets.packet_type(first, len(body))
        if kind is mqtt_packets.PacketType.CONNECT:
            mqtt_packets.parse_connect(body)
        elif kind is mqtt_packets.PacketType.PUBLISH:
            mqtt_packets.check_publish(first, body)


def parse_mdns_record(data: bytes) -> None:
    """A resolved record: addresses, then the text; nothing of it may aim this node at the internet."""
    pieces = [data[at : at + 4] for at in range(0, min(len(data), 8), 4)]
    name = f"{ADA.statement.node_id}.{SERVICE}"
    whole = [piece for piece in pieces if len(piece) == 4]
    info = AsyncServiceInfo(SERVICE, name, addresses=whole, port=8883, properties=data[8:])
    sighting = sighting_of(info)
    if sighting is not None:
        assert sighting.node_id == ADA.statement.node_id
        assert min(sighting.mqtt_port, sighting.door_port) >= 1024
        assert sighting.addresses


def parse_texts(data: bytes) -> None:
    """Names, ids, topics and what owners type."""
    text = data.decode("utf-8", "replace")
    CommonName.parse(text)
    addresses.is_dialable(text, 8883)
    with contextlib.suppress(MeshError):
        crypto.parse_node_id(text)
    with contextlib.suppress(MeshError):
        _, port = addresses.parse_door(text)
        assert 1024 <= port <= 65_535
    if len(text.split()) != 6:  # six words would be stretched, which takes long and parses nothing
        with contextlib.suppress(MeshError):
            derive_key(text, WORDLIST)


def _of(*names: str) -> Sequence[bytes]:
    """Return the vectors of these files, sound and not."""
    return [data_of(case) for name in names for case in (*cases(name), *invalid(name)) if "bytes" in case]


def _said(name: str) -> Sequence[bytes]:
    """Return every message of the conversations in a file."""
    return [bytes.fromhex(message["bytes"]) for case in cases(name) for message in case["messages"]]


def _records() -> Sequence[bytes]:
    fields = {"id": ADA.statement.node_id, "v": "1", "port": "8883", "door": "8884"}
    texts = [f"{key}={value}".encode() for key, value in fields.items()]
    sound = b"".join(bytes([len(text)]) + text for text in texts)
    return [bytes((192, 168, 1, 2, 10, 0, 0, 7)) + sound, bytes((8, 8, 8, 8, 224, 0, 0, 1)) + sound]


def _packets() -> Sequence[bytes]:
    connect = mqtt_packets.connect_packet("a" * 52 + ".ctl")
    return [connect[:1] + connect[2:], b"\x32\0\4in/x\0\1payload", b"\x82\0\1\0\4in/#\1", b"\xc0"]


def _frames() -> Sequence[bytes]:
    return [
        *_of("frames", "sessions"),
        *(bytes.fromhex(frame) for case in cases("sessions") for frame in case["frames"]),
    ]


@functools.cache
def _exported() -> Sequence[bytes]:
    ledger = ADA.founds()
    ADA.admits(ledger, BEN)
    BEN.removes(ledger, BEN)
    entries = in_order(ledger.entries)
    notes = [Note(snapshot_of(entries)).signed(ADA.seed, name=key_name(ledger.community))]
    notes.append(notes[0].signed(BEN.seed, name=key_name(ledger.community)))
    return [b"".join(RecordFile(entries, note).pieces()) for note in notes]


TARGETS = (
    Target(parse_codec, lambda: _of("codec")),
    Target(parse_frame, _frames),
    Target(parse_envelope, lambda: _of("envelopes")),
    Target(parse_entry, lambda: _of("entries")),
    Target(parse_note, lambda: [data.partition(b"checkpoint\n")[2] for data in _exported()]),
    Target(parse_record, _exported),
    Target(parse_announcement, lambda: _of("announcements")),
    Target(parse_advert, lambda: _of("adverts")),
    Target(parse_acknowledgement, lambda: _of("acknowledgements")),
    Target(parse_items, lambda: [*_of("epoch-keys"), *(bytes.fromhex(one["admission"]) for one in cases("pairing"))]),
    Target(parse_exchange, lambda: [bytes([case["kind"]]) + data_of(case) for case in cases("exchange")]),
    Target(parse_door, lambda: [*_of("door", "pairing"), *_said("pairing")]),
    Target(parse_enrolment, lambda: [data[2:] for data in (*_of("enrolment")[1:], *_said("enrolment"))]),
    Target(parse_session, _frames),
    Target(parse_mqtt, _packets),
    Target(parse_mdns_record, _records),
    Target(parse_texts, lambda: [case["text"].encode() for case in (*cases("pairing-keys"), *invalid("pairing-keys"))]),
)
