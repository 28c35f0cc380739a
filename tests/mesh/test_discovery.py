"""Discovery on the loopback interface with real multicast; node ids are random, since tests share the network."""

import asyncio
import contextlib
import re
import socket
import struct
import time
from pathlib import Path

import pytest
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from mesh import discovery
from mesh.discovery import SERVICE, Discovery, sighting_of
from mesh.sightings import MAX_ADDRESSES, Sighting
from tests.mesh.discovering import ALPHABET, random_id, running
from tests.models.waiting import until

NODE = "n" * 52
FIELDS = {"id": NODE, "v": "1", "port": "8883", "door": "8884"}


def record(
    name: str = f"{NODE}.{SERVICE}", addresses: tuple[str, ...] = ("192.168.1.7",), **fields: str
) -> AsyncServiceInfo:
    """Build a record as it comes from the network."""
    properties = {key: value for key, value in (FIELDS | fields).items() if value != "absent"}
    return AsyncServiceInfo(
        SERVICE, name, port=8883, properties=properties, server="x.local.", parsed_addresses=list(addresses)
    )


async def test_two_nodes_sight_each_other_and_not_themselves() -> None:
    """The newcomer sees who is there, and is seen; both with their ports."""
    first, second = random_id(), random_id()
    async with running(first, mqtt_port=20001, door_port=20002) as a:
        await asyncio.sleep(0)
        async with running(second, mqtt_port=20003, door_port=20004) as b:
            await until(lambda: a.sighting(second) is not None and b.sighting(first) is not None)
            assert b.sighting(first) == Sighting(first, ("127.0.0.1",), 20001, 20002)
            assert a.sighting(second) == Sighting(second, ("127.0.0.1",), 20003, 20004)
            assert a.sighting(first) is None
            assert b.sighting(second) is None
            assert a.sighting(second) in a.discovery.sightings


async def test_a_stopped_node_says_goodbye() -> None:
    """Whoever stops properly is gone from the others' lists at once."""
    first, second = random_id(), random_id()
    async with running(first) as a:
        async with running(second):
            await until(lambda: a.sighting(second) is not None)
        await until(lambda: second in a.lost)
        assert second not in {sighting.node_id for sighting in a.discovery.sightings}


async def test_a_node_that_comes_back_elsewhere_is_sighted_anew() -> None:
    """After a restart with other ports, the new ports are told."""
    first, second = random_id(), random_id()
    async with running(first) as a:
        async with running(second, mqtt_port=20001):
            await until(lambda: a.sighting(second) is not None)
        async with running(second, mqtt_port=20009):
            await until(lambda: (s := a.sighting(second)) is not None and s.mqtt_port == 20009)


async def test_a_clone_is_reported_and_stays_unannounced() -> None:
    """The second machine with the same id tells its owner, and does not disturb the first one's record."""
    node_id = random_id()
    async with running(random_id()) as watcher, running(node_id, mqtt_port=20001):
        await until(lambda: watcher.sighting(node_id) is not None)
        async with running(node_id, mqtt_port=20002) as clone:
            await until(lambda: bool(clone.clones))
            assert clone.clones[0] is not None
            assert clone.clones[0].door_port == 18884
            assert {s.mqtt_port for s in watcher.seen if s.node_id == node_id} == {20001}


async def test_a_malformed_record_on_the_network_is_dropped() -> None:
    """It is not reported; the next sound one is."""
    good, bad = random_id(), random_id()
    zeroconf = AsyncZeroconf(interfaces=["127.0.0.1"])
    info = AsyncServiceInfo(
        SERVICE,
        f"{bad}.{SERVICE}",
        port=20001,
        properties={"id": bad, "v": "1", "port": "22", "door": "20002"},
        server=f"{bad[:8]}.local.",
        parsed_addresses=["127.0.0.1"],
    )
    async with running(random_id()) as node:
        try:
            await (await zeroconf.async_register_service(info, cooperating_responders=True))
            async with running(good):
                await until(lambda: node.sighting(good) is not None)
        finally:
            await zeroconf.async_close()
        assert node.sighting(bad) is None


def dns_name(*labels: bytes) -> bytes:
    """Write a name for the wire, without compression."""
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


BROWSED = (b"_hearthmesh", b"_tcp", b"local")


def dns_record(name: bytes, kind: int, data: bytes) -> bytes:
    """Write a resource record of class IN."""
    return name + struct.pack(">HHIH", kind, 1, 4500, len(data)) + data


def announcement(instance: tuple[bytes, ...], *more: bytes) -> bytes:
    """Write a packet that announces an instance of our service, whatever its labels are."""
    pointer = dns_record(dns_name(*BROWSED), 12, dns_name(*instance, *BROWSED))
    return struct.pack(">HHHHHH", 0, 0x8400, 0, 1 + len(more), 0, 0) + pointer + b"".join(more)


def multicast(packet: bytes) -> None:
    """Send a packet as any host of the network can."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", 5353))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        sock.sendto(packet, ("224.0.0.251", 5353))


@pytest.mark.parametrize(
    "instance",
    [(b"\xff" * 30,), (b"\xff" * 63,), (b"a\x01b",), (b"a.b",), (b"a", b"b", b"c"), (b"a" * 60 + b"\xff",)],
    ids=["no text", "much of it", "control", "dot", "labels", "nearly"],
)
async def test_a_name_that_is_no_nodes_is_not_repeated(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, instance: tuple[bytes, ...]
) -> None:
    """It is counted, taken out of the answers the next query would repeat, and no traceback is made of it."""
    monkeypatch.setattr(discovery, "DROPS_LOGGED_PER_S", 1e6)
    caplog.set_level("INFO")
    async with running(random_id()) as node:
        pointers = node.discovery._browser.zc.cache.async_all_by_details
        multicast(announcement(instance))
        await until(lambda: "malformed mDNS records dropped" in caplog.text)
        aliases = [str(record).split(" alias=")[1] for record in pointers(SERVICE, 12, 1)]
        assert all(re.fullmatch(rf"[a-z2-7]{{52}}\.{SERVICE}>", alias) for alias in aliases)
        async with running(other := random_id()):
            await until(lambda: node.sighting(other) is not None)
    assert "Traceback" not in caplog.text


async def test_a_node_whose_host_cannot_be_asked_for_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """A sound name with an address record that zeroconf cannot write down does not end the discovery."""
    caplog.set_level("INFO")
    bad, good = random_id(), random_id()
    service = struct.pack(">HHH", 0, 0, 8883) + dns_name(b"\xff" * 60, b"local")
    async with running(random_id()) as node:
        multicast(announcement((bad.encode(),), dns_record(dns_name(bad.encode(), *BROWSED), 33, service)))
        await until(lambda: "malformed mDNS records dropped" in caplog.text)
        async with running(good):
            await until(lambda: node.sighting(good) is not None)
    assert "Traceback" not in caplog.text


def open_sockets() -> set[str]:
    """Name the sockets of this process."""
    found = set()
    for link in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(FileNotFoundError):  # what listed them
            found.add(str(link.readlink()))
    return {target for target in found if target.startswith("socket:")}


@pytest.mark.parametrize("turns", range(4))
async def test_stopping_in_the_middle_of_the_start_leaves_nothing_open(turns: int) -> None:
    """Whenever the cancellation comes."""
    before = open_sockets()
    node = Discovery(node_id=random_id(), mqtt_port=1, door_port=1, interfaces=("lo",), on_sighting=lambda _: None)
    task = asyncio.create_task(node.run(asyncio.Event()))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await until(lambda: open_sockets() <= before)
    assert task.cancelled()


async def test_it_browses_anew_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser whose scheduler has died is replaced."""
    monkeypatch.setattr(discovery, "BROWSE_ANEW_S", 0.0)
    seen: list[Sighting] = []
    node = Discovery(
        node_id=random_id(),
        mqtt_port=1,
        door_port=1,
        interfaces=("lo",),
        on_sighting=seen.append,
        poll_s=0.05,
    )
    ready = asyncio.Event()
    task = asyncio.create_task(node.run(ready))
    await ready.wait()
    first = node._browser
    await until(lambda: node._browser is not first)
    async with running(other := random_id()):
        await until(lambda: any(sighting.node_id == other for sighting in seen))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert first.done


async def test_stopping_is_quick() -> None:
    """The goodbye takes no longer than a second, also right after the start."""
    began = time.monotonic()
    async with running(random_id()):
        pass
    assert time.monotonic() - began < 2


def test_a_sound_record_becomes_a_sighting() -> None:
    """IPv4 first; link-local IPv6 is kept."""
    expected = Sighting(NODE, ("192.168.1.7", "fe80::1"), 8883, 8884)
    assert sighting_of(record(addresses=("fe80::1", "192.168.1.7"))) == expected


@pytest.mark.parametrize(
    "bad",
    [
        record(name=f"{'m' * 52}.{SERVICE}"),
        record(id="m" * 52),
        record(id="N" * 52),
        record(id="absent"),
        record(v="2"),
        record(v="absent"),
        record(port="absent"),
        record(port="0"),
        record(port="22"),
        record(port="1023"),
        record(port="65536"),
        record(port="99999"),
        record(port="+883"),
        record(port="٨٨٨٣"),
        record(port="8883 "),
        record(door="80"),
        record(door=""),
        record(addresses=()),
        record(addresses=("8.8.8.8", "2001:4860:4860::8888")),
        record(addresses=("0.0.0.0", "224.0.0.1", "ff02::1", "::")),  # noqa: S104  not bound, refused
    ],
)
def test_an_unsound_record_is_none(bad: AsyncServiceInfo) -> None:
    """Foreign names, missing fields, system ports, addresses on the internet."""
    assert sighting_of(bad) is None


def test_addresses_are_bounded_in_number() -> None:
    """A record with hundreds of addresses does not make this node knock hundreds of times."""
    many = tuple(f"10.0.{high}.{low}" for high in range(4) for low in range(1, 255))
    sighting = sighting_of(record(addresses=many))
    assert sighting is not None
    assert len(sighting.addresses) == MAX_ADDRESSES


def test_sightings_are_bounded_in_number() -> None:
    """A flood of made-up nodes pushes out the oldest."""
    seen: list[Sighting] = []
    node = Discovery(node_id=random_id(), mqtt_port=1, door_port=1, on_sighting=seen.append)
    for number in range(discovery.MAX_SIGHTINGS + 10):
        made_up = NODE[:-4] + "".join(ALPHABET[(number >> shift) & 31] for shift in (15, 10, 5, 0))
        node._see(record(name=f"{made_up}.{SERVICE}", id=made_up))
    assert len(seen) == discovery.MAX_SIGHTINGS + 10
    assert node.sightings == tuple(seen[10:])


def test_a_repeated_record_is_reported_once() -> None:
    """Only what is new or changed is news."""
    seen: list[Sighting] = []
    node = Discovery(node_id=random_id(), mqtt_port=1, door_port=1, on_sighting=seen.append)
    for port in ("8883", "8883", "9999"):
        node._see(record(port=port))
    assert [sighting.mqtt_port for sighting in seen] == [8883, 9999]


def test_malformed_records_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """A flood of them is one line."""
    caplog.set_level("INFO", "mesh.discovery")
    node = Discovery(node_id=random_id(), mqtt_port=1, door_port=1, on_sighting=lambda _: None)
    for _ in range(1000):
        node._see(record(v="2"))
    assert len(caplog.records) == 1
