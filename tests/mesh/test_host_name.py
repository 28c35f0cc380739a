"""The name for phones over real multicast on loopback; names are random, since tests share the network."""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator
from functools import partial

import pytest
from zeroconf import DNSAddress, DNSOutgoing, DNSQuestion  # type: ignore[attr-defined]  # public all the same
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from mesh import host_name
from mesh.discovery import Discovery
from mesh.host_name import DNS_A, DNS_IN, DNS_QUERY, HostName
from mesh.interfaces import Interface
from tests.mesh.discovering import Machine, random_id
from tests.models.waiting import until

ONE = Interface("wlan0", up=True, networks=("127.0.0.1/32",))
TWO = Interface("wlan0", up=True, networks=("127.0.0.2/32",))
PORT = 14327


def random_name() -> str:
    """Make a node's name that no other test uses."""
    return f"ember {secrets.token_hex(4)}"


def host_of(name: str, number: str = "") -> str:
    """The first name that it leads to, or a later one."""
    return f"{name.replace(' ', '-')}{number}.local"


@contextlib.asynccontextmanager
async def named(machine: Machine) -> AsyncIterator[HostName]:
    """A node on that machine, whose name for phones a test chooses."""
    node_id = random_id()
    name = HostName(node_id)
    node = Discovery(
        node_id=node_id,
        mqtt_port=18883,
        door_port=18884,
        on_sighting=lambda _: None,
        poll_s=0.02,
        look=machine.look,
        host_name=name,
    )
    ready = asyncio.Event()
    task = asyncio.create_task(node.run(ready))
    await asyncio.wait_for(ready.wait(), 5)
    try:
        yield name
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def phone() -> AsyncIterator[AsyncZeroconf]:
    """Somebody who asks for names."""
    zeroconf = AsyncZeroconf(interfaces=["127.0.0.1"])
    await zeroconf.zeroconf.async_wait_for_start()
    try:
        yield zeroconf
    finally:
        await zeroconf.async_close()


def told(zeroconf: AsyncZeroconf, host: str) -> set[str]:
    """The addresses of a host, as somebody knows them who has heard everything."""
    found = zeroconf.zeroconf.cache.async_all_by_details(f"{host}.", DNS_A, DNS_IN)
    return {socket.inet_ntoa(one.address) for one in found if isinstance(one, DNSAddress) and one.ttl > 1}


async def test_a_phone_finds_the_page_by_its_name() -> None:
    """Only while that is wanted: not before, and not after."""
    name = random_name()
    async with named(Machine(ONE)) as node, phone() as asking:
        assert (node.name, told(asking, host_of(name))) == ("", set())
        node.want(name, PORT)
        await until(lambda: told(asking, host_of(name)) == {"127.0.0.1"})
        await until(lambda: node.name == host_of(name))
        async with phone() as late:
            question = DNSOutgoing(DNS_QUERY)
            question.add_question(DNSQuestion(f"{host_of(name)}.", DNS_A, DNS_IN))
            late.zeroconf.async_send(question)
            await until(lambda: told(late, host_of(name)) == {"127.0.0.1"})
        node.want(None, PORT)
        await until(lambda: told(asking, host_of(name)) == set() and node.name == "")


async def test_a_taken_name_is_left_to_who_has_it() -> None:
    """The second machine of that name gets the next, and says which."""
    name = random_name()
    async with named(Machine(ONE)) as first, named(Machine(TWO)) as second, phone() as asking:
        first.want(name, PORT)
        await until(lambda: first.name == host_of(name))
        second.want(name, PORT)
        await until(lambda: second.name == host_of(name, "-2"))
        await until(lambda: told(asking, host_of(name, "-2")) == {"127.0.0.2"})
        assert told(asking, host_of(name)) == {"127.0.0.1"}


async def test_a_name_that_this_machine_answers_to_is_used_as_it_is() -> None:
    """Another responder on the same board is no other machine, and is not disturbed."""
    name = random_name()
    async with named(Machine(ONE)) as responder, named(Machine(ONE)) as node:
        responder.want(name, PORT)
        await until(lambda: responder.name == host_of(name))
        node.want(name, PORT)
        await until(lambda: node.name == host_of(name))


def _has(node: HostName, name: str) -> bool:
    return node.name == name


async def test_another_name_takes_the_place_of_the_first() -> None:
    """And the same one again, at once, is no other machine's."""
    one, two = random_name(), random_name()
    async with named(Machine(ONE)) as node, phone() as asking:
        for name in (one, two, two, one):
            node.want(name, PORT)
            await until(partial(_has, node, host_of(name)))
        await until(lambda: told(asking, host_of(one)) == {"127.0.0.1"})


async def test_the_name_follows_the_address() -> None:
    """The router gave another one: the name leads there."""
    name, machine = random_name(), Machine(ONE)
    async with named(machine) as node, phone() as asking:
        node.want(name, PORT)
        await until(lambda: told(asking, host_of(name)) == {"127.0.0.1"})
        machine.interfaces = (TWO,)
        await until(lambda: told(asking, host_of(name)) == {"127.0.0.2"})
        await until(lambda: node.name == host_of(name))


async def test_two_that_took_one_name_at_once_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each hears the other's announcement, and who asks again first keeps it."""
    monkeypatch.setattr(host_name, "PROBES", 0)
    monkeypatch.setattr(host_name, "CONFLICT_S", 0.5)
    name = random_name()
    async with named(Machine(ONE)) as first, named(Machine(TWO)) as second:
        first.want(name, PORT)
        second.want(name, PORT)
        await until(lambda: first._claimed == second._claimed != "")
        monkeypatch.setattr(host_name, "PROBES", 3)
        await until(lambda: len({first.name, second.name, ""}) == 3, within_s=30)


async def test_the_page_is_announced_as_a_web_page_and_says_no_more() -> None:
    """DNS-SD's own type for it, with the port and an empty TXT; nothing else of the node."""
    name = random_name()
    seen: list[str] = []
    async with phone() as asking:
        browser = AsyncServiceBrowser(
            asking.zeroconf,
            host_name.SERVICE,
            handlers=[lambda zeroconf, service_type, name, state_change: seen.append(name)],  # noqa: ARG005  zeroconf's
        )
        async with named(Machine(ONE)) as node:
            node.want(name, PORT)
            await until(lambda: any(name.replace(" ", "-") in one for one in seen))
            info = AsyncServiceInfo(host_name.SERVICE, next(one for one in seen if name.replace(" ", "-") in one))
            assert await info.async_request(asking.zeroconf, 5000)
            assert (info.port, info.server, info.properties) == (PORT, f"{host_of(name)}.", {})
        await browser.async_cancel()
