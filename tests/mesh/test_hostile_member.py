"""A member that breaks the protocol, at a live node: what it sends is dropped, counted, and costs little."""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from mesh.core import codec
from mesh.core.announcements import Announcement, Stamp, Topic, announce
from mesh.core.envelope import Envelope, MeshKind
from mesh.core.frames import Frame, FrameType, Header, Lane
from mesh.core.routes import LinksAdvert, short_id
from mesh.links import Link
from tests.mesh.nodes import PING, Kind, Running
from tests.mesh.test_routing import around, hops, reaches

MAX_GROWTH_BYTES = 48 * 1024 * 1024


def link(one: Running, two: Running) -> Link:
    """The link of one node to another."""
    return next(each for each in one.node._neighbourhood.links if each.peer_id == two.node.node_id)


def counted(one: Running, name: str) -> int:
    """What a node has counted under a name."""
    return one.node.counters()[name]


async def counts(one: Running, name: str, least: int = 1) -> None:
    """Wait until a node has counted so much."""
    async with asyncio.timeout(20):
        while counted(one, name) < least:  # noqa: ASYNC110  no event announces it
            await asyncio.sleep(0.01)


async def still_talks(one: Running, two: Running) -> None:
    """A message goes through, once."""
    body = os.urandom(8)
    await one.node.send(two.node.node_id, PING, body)
    await two.until(lambda: [each.body for each in two.received].count(body) == 1)


@contextlib.contextmanager
def overheard(one: Running, two: Running) -> Any:  # noqa: ANN401  a context manager's
    """Keep the frames that a link publishes."""
    connection = link(one, two)._lanes[Lane.CTL]
    publish = connection._client.publish
    frames: list[bytes] = []

    def kept(topic: str, payload: bytes) -> None:
        frames.append(payload)
        publish(topic, payload)

    connection._client.publish = kept  # type: ignore[method-assign]
    yield frames
    connection._client.publish = publish  # type: ignore[method-assign]


@contextlib.asynccontextmanager
async def two(directory: Path, kind: Kind = "mosquitto") -> AsyncIterator[tuple[Running, Running]]:
    """Anna, and Ben who is up to no good; linked."""
    async with around(directory, "AB", kind) as (anna, ben):
        await still_talks(ben, anna)
        yield anna, ben


def header_of(ben: Running, anna: Running, kind: FrameType, **change: Any) -> Header:  # noqa: ANN401  any field
    """A header from Ben to Anna, as it should be but for what is changed."""
    ids = [one.node._identity.raw_id for one in (ben, anna)]
    fields = {"type": kind, "lane": Lane.CTL, "source": ids[0], "destination": ids[1], "receiver_index": 0}
    return Header(**{**fields, **change})


@pytest.mark.parametrize("kind", ["mosquitto", "amqtt"])
async def test_malformed_frames_are_dropped_and_counted(tmp_path: Path, kind: Kind) -> None:
    """Noise, nothing, truncated frames, other lanes, unknown types: over a real broker, with either of them."""
    async with two(tmp_path, kind) as (anna, ben):
        sound = Frame(header_of(ben, anna, FrameType.DATA), bytes(40)).to_bytes()
        bad = [b"", os.urandom(71), os.urandom(500), sound[:75], b"\x14" + sound[1:], sound[:2] + b"\1" + sound[3:]]
        before = counted(anna, "dropped_malformed")
        for payload in bad:
            link(ben, anna).carry(Lane.CTL, payload)
        await counts(anna, "dropped_malformed", before + len(bad))
        await still_talks(ben, anna)
        assert counted(anna, "dropped_malformed") == before + len(bad)


async def test_replayed_and_reordered_frames_count_once(tmp_path: Path) -> None:
    """Each frame a second time, and backwards: what they hold arrives once."""
    async with two(tmp_path) as (anna, ben):
        with overheard(ben, anna) as frames:
            for number in range(20):
                await ben.node.send(anna.node.node_id, PING, bytes([number]))
        await anna.until(lambda: len(anna.received) >= 21)
        for frame in reversed(frames):
            link(ben, anna).carry(Lane.CTL, frame)
        await counts(anna, "dropped_replayed", 20)
        assert [one.body for one in anna.received[1:]] == [bytes([number]) for number in range(20)]
        await still_talks(ben, anna)


async def test_forged_frames_are_dropped_and_counted(tmp_path: Path) -> None:
    """One flipped bit in the seal, the counter, or the session: nothing opens, and the session lives on."""
    async with two(tmp_path) as (anna, ben):
        with overheard(ben, anna) as frames:
            await still_talks(ben, anna)
        frame = frames[0]
        for place in (len(frame) - 1, 85):
            link(ben, anna).carry(Lane.CTL, frame[:place] + bytes([frame[place] ^ 1]) + frame[place + 1 :])
        fresh = frame[:72] + (2**60).to_bytes(8, "big") + frame[80:]
        link(ben, anna).carry(Lane.CTL, fresh)
        await counts(anna, "dropped_forged")
        assert counted(anna, "dropped_forged") + counted(anna, "dropped_replayed") >= 3
        await still_talks(ben, anna)


async def test_a_member_cannot_speak_for_another(tmp_path: Path) -> None:
    """Frames with another's id as their source die on the link they came by."""
    async with around(tmp_path, "ABC") as (anna, ben, carl):
        ids = carl.node._identity.raw_id
        before = counted(anna, "dropped_malformed")
        for kind in (FrameType.H1, FrameType.DATA):
            frame = Frame(header_of(ben, anna, kind, source=ids), bytes(200)).to_bytes()
            link(ben, anna).carry(Lane.CTL, frame)
        await counts(anna, "dropped_malformed", before + 2)
        await asyncio.gather(still_talks(ben, anna), still_talks(carl, anna))
        assert {one.peer for one in anna.received} == {ben.node.node_id, carl.node.node_id}


async def test_a_flood_costs_no_memory(tmp_path: Path) -> None:
    """Ten thousand frames of every bad sort, the largest among them: dropped, and nothing of them stays."""
    async with two(tmp_path) as (anna, ben):
        chance = random.Random(1)  # noqa: S311  the same flood each time
        data = header_of(ben, anna, FrameType.DATA, receiver_index=7)
        hello = header_of(ben, anna, FrameType.H1)
        carl = os.urandom(32)
        routed = header_of(ben, anna, FrameType.DATA, destination=carl, routed=True)
        before = resident_bytes()
        dropped = sum(anna.node.counters().values())
        anna_link = link(anna, ben)
        for number in range(10_000):
            header = (data, hello, routed)[number % 3]
            size = 900_000 if number % 500 == 0 else 300
            payload = Frame(header, chance.randbytes(size), counter=number).to_bytes()
            anna.node._exchange.frame_arrived(anna_link, Lane.CTL, payload)
        assert sum(anna.node.counters().values()) - dropped >= 9_900
        assert resident_bytes() - before < MAX_GROWTH_BYTES
        await still_talks(ben, anna)


async def test_a_frame_for_a_node_that_is_stopping_is_dropped(tmp_path: Path) -> None:
    """Far sessions are over by then; what still comes for them raises nothing in the loop."""
    async with around(tmp_path, "ABC") as (anna, ben, carl):
        header = header_of(carl, anna, FrameType.H1, routed=True)
        anna_link, router = link(anna, ben), anna.node._exchange._router
        tasks, router._tasks = router._tasks, None
        before = counted(anna, "dropped_unroutable")
        anna.node._exchange.frame_arrived(anna_link, Lane.CTL, Frame(header, bytes(100)).to_bytes())
        assert counted(anna, "dropped_unroutable") == before + 1
        router._tasks = tasks


async def test_news_of_an_own_life_on_a_full_disk_stops_nothing(tmp_path: Path) -> None:
    """A count of starts that cannot be written is written another time; nothing is raised in the loop."""
    async with two(tmp_path) as (anna, ben):
        store = anna.node._store
        assert store.membership is not None
        one = announce(
            anna.node._identity.seed,
            store.membership.community,
            Topic.LINKS,
            Stamp(2**30, 1),
            LinksAdvert({}).to_body(),
        )
        body = codec.encode([one.raw])
        envelope = Envelope(MeshKind.ANNOUNCEMENTS, os.urandom(16), None, 1000, body)
        store._database.execute("PRAGMA query_only = ON")
        anna.node._exchange.envelope_arrived(link(anna, ben), Lane.CTL, envelope)
        store._database.execute("PRAGMA query_only = OFF")
        anna.node._exchange.envelope_arrived(link(anna, ben), Lane.CTL, envelope)
        board = ben.node._exchange._announcer.board

        def said_again() -> bool:
            said = board.of(anna.node._identity.raw_id, Topic.LINKS)
            return said is not None and said.stamp > Stamp(2**30, 1)

        async with asyncio.timeout(20):
            while not said_again():  # noqa: ASYNC110  no event announces it
                await asyncio.sleep(0.01)
        await still_talks(ben, anna)


def resident_bytes() -> int:
    """What this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def tampering(relay: Running, change: Callable[[bytes], list[bytes]]) -> None:
    """Let a relay pass on something else than it was given."""
    router = relay.node._exchange._router
    forward = router._forward

    def changed(link: Link, frame: Frame, payload: bytes) -> None:  # noqa: ARG001  the signature is the router's
        for other in change(payload):
            forward(link, Frame.parse(other), other)

    router._forward = changed  # type: ignore[method-assign]


async def test_a_relay_reads_nothing(tmp_path: Path) -> None:
    """What two nodes say over it passes as sealed bytes; only who speaks to whom, and how much, can be seen."""
    async with around(tmp_path, "BAC") as (ben, anna, carl):
        await reaches(anna, carl, 2)
        seen: list[bytes] = []

        def looked_at(payload: bytes) -> list[bytes]:
            seen.append(payload)
            return [payload]

        tampering(ben, looked_at)
        secret = b"the question nobody else may read" * 20
        await anna.node.send(carl.node.node_id, PING, secret)
        await carl.until(lambda: [one.body for one in carl.received] == [secret])
        assert seen
        assert not any(secret[:33] in payload for payload in seen)
        assert {Frame.parse(payload).header.routed for payload in seen} == {True}
        assert ben.received == []


async def test_a_relay_that_alters_repeats_and_reorders_changes_nothing(tmp_path: Path) -> None:
    """Every third frame with a flipped bit, each one twice, in pairs that swap places: all arrives once, in order."""
    async with around(tmp_path, "BAC") as (ben, anna, carl):
        await reaches(anna, carl, 2)
        await still_talks(anna, carl)
        held: list[bytes] = []
        number = 0

        def hostile(payload: bytes) -> list[bytes]:
            nonlocal number
            number += 1
            if number % 3 == 0:
                return [payload[:-1] + bytes([payload[-1] ^ 1])]
            held.append(payload)
            if len(held) < 2:
                return []
            later, first = held.pop(0), held.pop(0)
            return [first, later, first]

        tampering(ben, hostile)
        for count in range(60):
            await anna.node.send(carl.node.node_id, PING, bytes([count]), ttl_s=60)
        await carl.until(lambda: len(carl.received) >= 61)
        assert [one.body for one in carl.received[1:]] == [bytes([count]) for count in range(60)]
        assert counted(carl, "dropped_forged") > 0
        assert counted(carl, "dropped_replayed") > 0


def tell(one: Running, two: Running, *announcements: bytes) -> None:
    """Send announcements over a link."""
    link(one, two).send(MeshKind.ANNOUNCEMENTS, codec.encode([*announcements]), ttl_s=30)


def forged(author: Running, forger: Running, body: bytes) -> bytes:
    """An announcement in a node's name that another signed."""
    community = author.node._store.membership
    assert community is not None
    made = announce(forger.node._identity.seed, community.community, Topic.LINKS, Stamp(2**40, 1), body)
    fields = codec.decode_array(made.raw[:-64], max_bytes=20_000)
    fields[1] = author.node._identity.raw_id
    return codec.encode(fields) + made.raw[-64:]


async def test_a_forged_advert_is_dropped_and_counted(tmp_path: Path) -> None:
    """In another's name, however new it claims to be: the routes stay."""
    async with around(tmp_path, "BAC") as (ben, anna, carl):
        await reaches(anna, carl, 2)
        tell(ben, anna, forged(carl, ben, LinksAdvert({}).to_body()))
        await counts(anna, "dropped_forged")
        assert hops(anna, carl) == 2
        await still_talks(anna, carl)


async def test_a_flood_of_forged_adverts_does_not_silence_their_victim(tmp_path: Path) -> None:
    """Forgeries of one neighbour do not use up what another may say."""
    async with around(tmp_path, "ABC") as (anna, ben, carl):
        bad = forged(carl, ben, LinksAdvert({}).to_body())

        async def flood() -> None:
            while True:
                tell(ben, anna, bad)
                await asyncio.sleep(0.01)

        flooding = asyncio.create_task(flood())
        await counts(anna, "dropped_forged", 40)
        for news in (b"one", b"two", b"three"):
            carl.node.announce(lambda news=news: news)  # type: ignore[misc]
            await anna.until(lambda news=news: anna.node.announcements().get(carl.node.node_id) == news)  # type: ignore[misc]
        flooding.cancel()


async def test_an_edge_that_one_end_invents_leads_nowhere(tmp_path: Path) -> None:
    """A member that claims a link to another, who says nothing of it, draws no traffic by it."""
    async with around(tmp_path, "BACD") as (ben, anna, carl, dora):
        await asyncio.gather(reaches(anna, carl, 2), reaches(carl, dora, 2), reaches(anna, dora, 2))
        router = carl.node._exchange._router
        edges = router.edges
        claimed = short_id(dora.node._identity.raw_id)
        router.edges = lambda: {**edges(), claimed: 1}  # type: ignore[method-assign]
        heard: list[Announcement] = []
        at_anna = anna.node._exchange._router
        take = at_anna.heard

        def noted(announcement: Announcement) -> LinksAdvert:
            heard.append(announcement)
            return take(announcement)

        at_anna.heard = noted  # type: ignore[method-assign]
        carl.node._exchange.place_changed()
        await anna.until(lambda: any(claimed in LinksAdvert.parse(one.body).edges for one in heard))
        next_hop = at_anna._table.next_hop(dora.node._identity.raw_id)
        assert next_hop == ben.node._identity.raw_id
        assert hops(anna, dora) == 2
        assert carl.node._exchange._router._hops[dora.node._identity.raw_id] == 2


async def test_frames_that_have_gone_too_far_end(tmp_path: Path) -> None:
    """A frame cannot circle: at sixteen hops it is dropped, whatever else it is."""
    async with around(tmp_path, "BAC") as (ben, anna, carl):
        await reaches(anna, carl, 2)
        destination = carl.node._identity.raw_id
        header = header_of(anna, ben, FrameType.DATA, destination=destination, routed=True, hop=16)
        before = counted(ben, "frames_forwarded")
        link(anna, ben).carry(Lane.CTL, Frame(header, bytes(50)).to_bytes())
        await counts(ben, "dropped_malformed")
        assert counted(ben, "frames_forwarded") == before
        await still_talks(anna, carl)


async def test_who_asks_for_everything_without_end_is_answered_now_and_then(tmp_path: Path) -> None:
    """Summaries that name nothing ask for all announcements; beyond a burst they cost a look at their head."""
    async with two(tmp_path) as (anna, ben):
        anna_link = link(anna, ben)
        empty = Envelope(MeshKind.SUMMARY, os.urandom(16), None, 1000, codec.encode([]))
        sent, dropped = counted(anna, "messages_sent"), counted(anna, "dropped_rate_limited")
        for _ in range(1000):
            anna.node._exchange.envelope_arrived(anna_link, Lane.CTL, empty)
        assert counted(anna, "messages_sent") - sent <= 100
        assert counted(anna, "dropped_rate_limited") - dropped >= 900
        await still_talks(ben, anna)


async def test_frames_of_no_session_begin_a_bounded_number_of_handshakes(tmp_path: Path) -> None:
    """Whoever they claim to be from, this node itself among them: they cost their bearer's share alone."""
    async with around(tmp_path, "BACD") as (ben, anna, carl, dora):
        await reaches(anna, carl, 2)
        await reaches(anna, dora, 2)
        anna_link = link(anna, ben)
        seen, dropped = counted(anna, "dropped_unknown_session"), counted(anna, "dropped_rate_limited")
        for number in range(1000):
            source = (carl, dora)[number % 2]
            header = header_of(source, anna, FrameType.DATA, receiver_index=number, routed=True)
            anna.node._exchange.frame_arrived(anna_link, Lane.CTL, Frame(header, bytes(50)).to_bytes())
        assert counted(anna, "dropped_unknown_session") - seen <= 200
        assert counted(anna, "dropped_rate_limited") - dropped >= 800
        before = counted(anna, "dropped_unroutable")
        header = header_of(anna, anna, FrameType.H1, routed=True)
        anna.node._exchange.frame_arrived(anna_link, Lane.CTL, Frame(header, bytes(50)).to_bytes())
        assert counted(anna, "dropped_unroutable") == before + 1
        assert anna.node._identity.raw_id not in anna.node._exchange._router._far
        await asyncio.gather(still_talks(anna, carl), still_talks(dora, anna))


async def test_what_is_passed_on_leaves_room_for_the_own(tmp_path: Path) -> None:
    """A flood through a relay takes half of the queue to the next node; the relay's own messages get the rest."""
    async with around(tmp_path, "BAC") as (ben, anna, carl):
        await reaches(anna, carl, 2)
        ids = carl.node._identity.raw_id
        header = header_of(anna, ben, FrameType.DATA, destination=ids, routed=True)
        flood = Frame(header, bytes(50)).to_bytes()
        before, dropped = counted(ben, "frames_forwarded"), counted(ben, "dropped_unroutable")
        for _ in range(2000):
            ben.node._exchange.frame_arrived(link(ben, anna), Lane.CTL, flood)
        assert counted(ben, "frames_forwarded") - before <= 512
        assert counted(ben, "dropped_unroutable") - dropped >= 1000
        link(ben, carl).carry(Lane.CTL, flood)
        await still_talks(ben, carl)
