"""Announcements, adverts, routes and acknowledgements agree with the committed files."""

from collections.abc import Callable

import pytest

from mesh.core import codec
from mesh.core.announcements import Announcement, Head, Stamp, Topic, announce
from mesh.core.routes import LinksAdvert, Place, RouteTable
from mesh.core.streams import Ack
from mesh.errors import MalformedError, PeerMisbehavedError
from tests.vectors.reading import Case, cases, data_of, invalid, item_of, title


@pytest.mark.parametrize("case", cases("announcements"), ids=title)
def test_announcements(case: Case) -> None:
    """Signed and checked."""
    community, body = bytes.fromhex(case["community"]), bytes.fromhex(case["body"])
    stamp = Stamp(case["boot"], case["seq"])
    assert announce(bytes.fromhex(case["seed"]), community, Topic(case["topic"]), stamp, body).raw == data_of(case)
    one = Announcement.parse(data_of(case))
    one.verify(bytes.fromhex(case["public"]), community)
    assert (one.author.hex(), one.topic, one.stamp, one.body) == (case["author"], case["topic"], stamp, body)


@pytest.mark.parametrize("case", invalid("announcements"), ids=title)
def test_what_is_no_announcement(case: Case) -> None:
    """Is malformed, or not its author's."""
    public, community = bytes.fromhex(case["public"]), bytes.fromhex(case["community"])
    with pytest.raises(PeerMisbehavedError):
        Announcement.parse(data_of(case)).verify(public, community)


@pytest.mark.parametrize("case", cases("adverts"), ids=title)
def test_adverts(case: Case) -> None:
    """Written and read."""
    edges = {bytes.fromhex(short): metric for short, metric in case["edges"].items()}
    place = None
    if case["place"] is not None:
        addresses, mqtt_port, door_port = case["place"]
        place = Place(tuple(addresses), mqtt_port, door_port)
    assert LinksAdvert(edges, place).to_body() == data_of(case)
    assert LinksAdvert.parse(data_of(case)) == LinksAdvert(edges, place)


@pytest.mark.parametrize("case", invalid("adverts"), ids=title)
def test_what_is_no_advert(case: Case) -> None:
    """Is malformed."""
    with pytest.raises(MalformedError):
        LinksAdvert.parse(data_of(case))


@pytest.mark.parametrize("case", cases("routes"), ids=title)
def test_routes(case: Case) -> None:
    """The same adverts give the same first hops everywhere."""
    own, *_ = case["nodes"].values()
    table = RouteTable(bytes.fromhex(own))
    table.update(
        {bytes.fromhex(raw_id): metric for raw_id, metric in case["links"].items()},
        {
            bytes.fromhex(raw_id): LinksAdvert.parse(bytes.fromhex(body))
            for raw_id, body in reversed(case["adverts"].items())
        },
    )
    assert {raw_id.hex(): hops for raw_id, hops in table.reachable().items()} == case["hops"]
    for raw_id, hop in case["next_hop"].items():
        assert table.next_hop(bytes.fromhex(raw_id)) == bytes.fromhex(hop)


READERS: dict[int, Callable[[bytes], object]] = {
    4: Ack.parse,
    5: lambda body: [Head.parse(item) for item in codec.decode_array(body, max_bytes=10_000)],
    6: lambda body: [
        Announcement.parse(codec.short_bytes(item, 10_000)) for item in codec.decode_array(body, max_bytes=10_000)
    ],
}


@pytest.mark.parametrize("case", cases("acknowledgements"), ids=title)
def test_bodies(case: Case) -> None:
    """Written and read."""
    assert codec.encode(item_of(case["body"])) == data_of(case)
    assert READERS[case["kind"]](data_of(case))


@pytest.mark.parametrize("case", invalid("acknowledgements"), ids=title)
def test_what_is_no_body(case: Case) -> None:
    """Is malformed."""
    with pytest.raises(MalformedError):
        READERS[case["kind"]](data_of(case))
