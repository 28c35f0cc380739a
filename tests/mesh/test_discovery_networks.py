"""Discovery on machines whose networks come, go and change."""

import asyncio
import shutil
import subprocess
import sys

import pytest

from mesh import discovery
from mesh.facts import Hearing
from mesh.interfaces import Interface
from tests.mesh.discovering import Machine, Running, on, random_id, running
from tests.models.waiting import until

OLD_S = 1.1  # a younger record is not replaced by a new one, but joined by it (RFC 6762, 10.2)
ETH = Interface("eth0", up=True, networks=("127.0.0.1/32",))
WLAN = Interface("wlan0", up=True, networks=("127.0.0.2/32",))
DOCKER = Interface("docker0", up=True, networks=("127.0.0.3/32",))


def addresses(running: Running, node_id: str) -> tuple[str, ...]:
    """List where a node was seen last."""
    sighting = running.sighting(node_id)
    return sighting.addresses if sighting else ()


async def test_a_machine_without_a_network_starts_and_waits_for_one() -> None:
    """Wi-Fi that comes up after the start: announced there, and neighbours are found there."""
    late, first = random_id(), random_id()
    machine = Machine(Interface("wlan0", up=False))
    async with running(first) as other, on(machine, late) as node:
        looks = machine.looks
        await until(lambda: machine.looks > looks + 2)
        assert not node.seen
        assert other.sighting(late) is None
        machine.interfaces = (WLAN,)
        await until(lambda: addresses(other, late) == ("127.0.0.2",))
        await until(lambda: node.sighting(first) is not None)


async def test_an_address_that_changes_is_told() -> None:
    """The router gave another one: the old one is told no more."""
    moving = random_id()
    machine = Machine(WLAN)
    async with running(random_id()) as other, on(machine, moving):
        await until(lambda: addresses(other, moving) == ("127.0.0.2",))
        await asyncio.sleep(OLD_S)
        machine.interfaces = (Interface("wlan0", up=True, networks=("127.0.0.9/32",)),)
        await until(lambda: addresses(other, moving) == ("127.0.0.9",))
        assert moving not in other.lost


class Moving(Machine):
    """A machine that tells when its interfaces have been seen to be others."""

    def __init__(self) -> None:
        super().__init__(ETH)
        self.seen = asyncio.Event()

    def look(self) -> tuple[Interface, ...]:
        """List the interfaces, and have whoever waits for it go on."""
        if self.interfaces == (WLAN,):
            self.seen.set()
        return super().look()


async def test_it_can_be_stopped_in_the_midst_of_a_change() -> None:
    """However far the change has come by then: it ends as at any other time."""
    for turns in range(12):
        machine = Moving()
        async with on(machine, random_id()):
            machine.interfaces = (WLAN,)
            await machine.seen.wait()
            for _ in range(turns):
                await asyncio.sleep(0)


async def test_two_interfaces_are_both_told() -> None:
    """And when one goes, only the other is left."""
    node_id = random_id()
    machine = Machine(ETH, WLAN, DOCKER)
    async with running(random_id()) as other, on(machine, node_id):
        await until(lambda: set(addresses(other, node_id)) == {"127.0.0.1", "127.0.0.2"})
        await asyncio.sleep(OLD_S)
        machine.interfaces = (WLAN, DOCKER)
        await until(lambda: addresses(other, node_id) == ("127.0.0.2",))


async def test_an_interface_that_is_not_there_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """A misspelt one must not be silence; once, not at every look; and it is used when it comes."""
    machine = Machine(ETH)
    node_id = random_id()
    async with running(random_id()) as other, on(machine, node_id, "wlan0"):
        await until(lambda: machine.looks > 3)
        lines = [one.getMessage() for one in caplog.records if "[discovery] interfaces" in one.getMessage()]
        assert lines == [
            "[discovery] interfaces: there is no wlan0 here (there are: eth0); it is used once it is there"
        ]
        machine.interfaces = (ETH, WLAN)
        await until(lambda: addresses(other, node_id) == ("127.0.0.2",))


@pytest.mark.usefixtures("_quick_ears")
async def test_it_hears_itself_and_others() -> None:
    """Our own announcement comes back over the network; another machine's address was told by another machine."""
    machine = Machine(ETH)
    node_id = random_id()
    async with on(machine, node_id) as node:
        await until(lambda: node.discovery.hearing.announced and node.discovery.hearing.own)
        async with on(Machine(WLAN), random_id()):
            await until(lambda: node.discovery.hearing.others)
        machine.interfaces = ()  # another network, or none: what was heard before says nothing of it
        await until(lambda: not (node.discovery.hearing.own or node.discovery.hearing.others))


@pytest.mark.usefixtures("_quick_ears")
async def test_who_hears_nothing_knows_it() -> None:
    """An address whose packets are lost: announced, and not heard."""
    async with on(Machine(Interface("wlan0", up=False)), random_id()) as node:
        await until(lambda: node.discovery.hearing.announced)
        assert node.discovery.hearing == Hearing(announced=True, own=False, others=False)


@pytest.fixture
def _quick_ears(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for announcements to be repeated."""
    monkeypatch.setattr(discovery, "HEARD_WITHIN_S", 0.0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # zeroconf's socket, when it gives up
async def test_mdns_that_cannot_be_used_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """An address that has gone before it is used, or a port that is held: said, and no end of the node."""
    machine = Machine(Interface("wlan0", up=True, networks=("fd00:dead::1/64",)))
    node_id = random_id()
    async with running(random_id()) as other, on(machine, node_id) as node:
        await until(lambda: "fd00:dead::1" in node.discovery.hearing.failure)
        await until(lambda: machine.looks > 3)
        assert caplog.text.count("mDNS cannot be used") == 1
        machine.interfaces = (ETH,)
        await until(lambda: addresses(other, node_id) == ("127.0.0.1",))
        assert node.discovery.hearing.failure == ""


LATE_INTERFACE = """
import asyncio, subprocess
from mesh.discovery import Discovery, sighting_of
from mesh.sightings import MAX_ADDRESSES, Sighting

def ip(*words):
    subprocess.run(["ip", *words], check=True)

async def main():
    seen = asyncio.Queue()
    def node(letter, sighted, ready):
        return Discovery(node_id=letter * 52, mqtt_port=20001, door_port=20002, interfaces=("lo", "late0"),
                         on_sighting=sighted, poll_s=0.1).run(ready)
    ready = asyncio.Event()
    tasks = [asyncio.create_task(node("a", lambda _: None, ready))]
    await ready.wait()
    ip("link", "set", "lo", "up")
    tasks.append(asyncio.create_task(node("b", seen.put_nowait, asyncio.Event())))
    first = await asyncio.wait_for(seen.get(), 10)
    ip("link", "add", "late0", "type", "veth", "peer", "name", "late1")
    ip("addr", "add", "10.66.0.1/24", "dev", "late0")
    ip("link", "set", "late0", "up")
    while "10.66.0.1" not in (await asyncio.wait_for(seen.get(), 10)).addresses:
        pass
    print("sighted on the new interface", flush=True)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

asyncio.run(main())
"""


@pytest.mark.lab
def test_an_interface_that_comes_up_later_is_used() -> None:
    """Wi-Fi that connects after the start: announced there, and the new address is told."""
    unshare = shutil.which("unshare") or "unshare"
    done = subprocess.run(
        [unshare, "--net", "--", sys.executable, "-c", LATE_INTERFACE],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == "sighted on the new interface\n", done.stderr
