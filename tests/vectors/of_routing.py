"""Vectors of what makes the mesh more than its links: announcements, adverts of links, routes, acknowledgements."""

from mesh.core import codec, crypto
from mesh.core.announcements import Announcement, Stamp, Topic, announce
from mesh.core.routes import LAN_METRIC, LinksAdvert, Place, RouteTable, short_id
from tests.mesh.core.world import Person
from tests.vectors.family import Family, Json, as_json, case, flipped, invalid, varied

ADA, BEN, CLEO, DORA, EVE = (Person(name) for name in ("ada", "ben", "cleo", "dora", "eve"))
COMMUNITY = b"c" * 32
STREAM = b"stream__"


def _signed(person: Person, fields: list[codec.Item], *, kind: str = "announcement") -> bytes:
    payload = codec.encode(fields)
    return payload + crypto.sign(person.seed, kind, COMMUNITY, payload)


def announcements() -> Family:
    """Signed, and everything that is not."""
    made = {
        "of links": announce(ADA.seed, COMMUNITY, Topic.LINKS, Stamp(1, 1), LinksAdvert({}).to_body()),
        "of the device, in another life": announce(BEN.seed, COMMUNITY, Topic.DEVICE, Stamp(2**40, 7), b"body"),
    }
    good: list[codec.Item] = [1, ADA.raw_id, 0, 1, 1, b"\x82\x80\xf6"]
    changes: list[tuple[str, int, codec.Item]] = [
        ("another version", 0, 2),
        ("a version that is true", 0, True),
        ("an author of 31 bytes", 1, ADA.raw_id[:31]),
        ("a topic that is none", 2, 2),
        ("a negative boot", 3, -1),
        ("a seq beyond 2^48", 4, 2**48 + 1),
        ("a body that is text", 5, "body"),
    ]
    wrong = [
        invalid(reason, _signed(ADA, codec.decode_array(data, max_bytes=1000)))
        for reason, data in varied(good, changes)
    ]
    raw = made["of links"].raw
    wrong += [
        invalid("a field too many", _signed(ADA, [*good, 1])),
        invalid("signed by another member", _signed(BEN, good)),
        invalid("signed as an entry", _signed(ADA, good, kind="entry")),
        invalid("one bit of the signature flipped", flipped(raw, -1)),
        invalid("one bit of the boot flipped", flipped(raw, 38)),
        invalid("nothing but a signature", raw[-64:]),
        invalid("more than 16 KiB: as many zeros follow", raw, zeros=16 * 1024 + 1 - len(raw)),
    ]
    return {
        "about": "Section 6, announcements: payload, signature(64)",
        "cases": [_announcement(name, one) for name, one in made.items()],
        "invalid": [{**one, "public": ADA.public.hex(), "community": COMMUNITY.hex()} for one in wrong],
    }


def _announcement(name: str, one: Announcement) -> Json:
    person = ADA if one.author == ADA.raw_id else BEN
    return case(
        name,
        one.raw,
        seed=person.seed.hex(),
        public=person.public.hex(),
        community=COMMUNITY.hex(),
        author=one.author.hex(),
        topic=one.topic,
        boot=one.stamp.boot,
        seq=one.stamp.seq,
        body=one.body.hex(),
    )


def adverts() -> Family:
    """What a node says of its links."""
    place = Place(("192.168.1.2", "fe80::1%eth0"), 8883, 8884)
    made = {
        "no links, no place": LinksAdvert({}),
        "two links, the cheaper first": LinksAdvert({short_id(BEN.raw_id): 100, short_id(CLEO.raw_id): 10}, place),
    }
    edge: codec.Item = [short_id(BEN.raw_id), 10]
    bad: dict[str, list[codec.Item]] = {
        "one field": [[edge]],
        "a metric of 0": [[[short_id(BEN.raw_id), 0]], None],
        "a metric of 1001": [[[short_id(BEN.raw_id), 1001]], None],
        "a neighbour's name of 7 bytes": [[[BEN.raw_id[:7], 10]], None],
        "25 edges": [[[bytes([n]) * 8, 10] for n in range(25)], None],
        "a place without its door": [[edge], [["10.0.0.1"], 8883]],
        "a port of 65536": [[edge], [["10.0.0.1"], 65_536, 1]],
        "an address that steers a terminal": [[edge], [["\x1b[2J"], 1, 1]],
        "nine addresses": [[edge], [["10.0.0.1"] * 9, 1, 1]],
    }
    return {
        "about": "Section 6, routes: the body of an announcement of topic 0",
        "cases": [
            case(
                name,
                advert.to_body(),
                edges={short.hex(): metric for short, metric in advert.edges.items()},
                place=None
                if advert.place is None
                else [list(advert.place.addresses), advert.place.mqtt_port, advert.place.door_port],
            )
            for name, advert in made.items()
        ],
        "invalid": [invalid(reason, codec.encode(fields)) for reason, fields in bad.items()],
    }


def routes() -> Family:
    """Who is reached over whom, by what nodes say of their links."""
    line: dict[Person, dict[Person, int]] = {BEN: {ADA: 10, CLEO: 10}, CLEO: {BEN: 10, DORA: 10}, DORA: {CLEO: 10}}
    detour: dict[Person, dict[Person, int]] = {
        BEN: {ADA: 10, DORA: 100},
        CLEO: {ADA: 10, EVE: 10},
        EVE: {CLEO: 10, DORA: 10},
        DORA: {BEN: 10, EVE: 10},
    }
    return {
        "about": (
            "Section 6, routes, as ada (the first of `nodes`) sees them: `links` are its own, `adverts` the others' "
            "words; `hops` and `next_hop` of each node that is reached"
        ),
        "cases": [
            _routes("a line", [BEN], line),
            _routes("an edge that one end alone claims", [BEN], {BEN: {ADA: 10}, DORA: {BEN: 10}}),
            _routes("the dearer metric of an edge counts", [BEN, CLEO], detour),
            _routes("a link of its own counts at once", [BEN], {}),
        ],
        "invalid": [],
    }


def _routes(name: str, links: list[Person], said: dict[Person, dict[Person, int]]) -> Json:
    adverts = {
        one.raw_id: LinksAdvert({short_id(other.raw_id): metric for other, metric in edges.items()})
        for one, edges in said.items()
    }
    table = RouteTable(ADA.raw_id)
    table.update({one.raw_id: LAN_METRIC for one in links}, adverts)
    return {
        "name": name,
        "nodes": {one.name: one.raw_id.hex() for one in (ADA, BEN, CLEO, DORA, EVE)},
        "links": {one.raw_id.hex(): LAN_METRIC for one in links},
        "adverts": {raw_id.hex(): advert.to_body().hex() for raw_id, advert in adverts.items()},
        "hops": {raw_id.hex(): hops for raw_id, hops in sorted(table.reachable().items())},
        "next_hop": {raw_id.hex(): (table.next_hop(raw_id) or b"").hex() for raw_id in sorted(table.reachable())},
    }


def acknowledgements() -> Family:
    """Bodies of ACK, and of the messages that spread announcements."""
    raw = announce(ADA.seed, COMMUNITY, Topic.LINKS, Stamp(1, 1), LinksAdvert({}).to_body()).raw
    good: dict[str, tuple[int, list[codec.Item]]] = {
        "ACK of all before 3": (4, [STREAM, 3, []]),
        "ACK of all before 3, and of 5 and 7": (4, [STREAM, 3, [5, 7]]),
        "SUMMARY": (5, [[ADA.raw_id, 0, 1, 1], [BEN.raw_id, 1, 2**40, 7]]),
        "ANNOUNCEMENTS": (6, [raw]),
    }
    bad: list[tuple[str, int, list[codec.Item]]] = [
        ("a stream of 7 bytes", 4, [STREAM[:7], 3, []]),
        ("two fields", 4, [STREAM, 3]),
        ("a negative seq", 4, [STREAM, 3, [-1]]),
        ("65 seqs beyond", 4, [STREAM, 0, [*range(1, 66)]]),
        ("a head of three fields", 5, [[ADA.raw_id, 0, 1]]),
        ("a head of a topic that is none", 5, [[ADA.raw_id, 9, 1, 1]]),
        ("an announcement that is none", 6, [b"announcement"]),
        ("an announcement that is no bytes", 6, ["announcement"]),
    ]
    return {
        "about": "Section 6: bodies of the kinds 4 to 6",
        "cases": [case(name, codec.encode(body), kind=kind, body=as_json(body)) for name, (kind, body) in good.items()],
        "invalid": [invalid(reason, codec.encode(body), kind=kind) for reason, kind, body in bad],
    }
