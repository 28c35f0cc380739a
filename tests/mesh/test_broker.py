"""Supervision of the broker: it comes up, comes back, goes when the node goes, and says why when it cannot."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mesh import mosquitto, ports
from mesh.broker import Broker
from mesh.certificates import BrokerAuthority
from mesh.core.topic_policy import CommonName, Role, inbox_topic
from mesh.errors import BrokerFailedError, PortInUseError, StorageError
from tests.mesh.running import ALICE, DEADLINE_S, KINDS, OWNER, Kind, RunningBroker, running_broker
from tests.models.waiting import until

TOPIC = inbox_topic(CommonName(ALICE, Role.CTL))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Go through both kinds."""
    chosen: Kind = request.param
    return chosen


@pytest.fixture
async def broker(kind: Kind, tmp_path: Path) -> AsyncIterator[RunningBroker]:
    """Run a broker."""
    async with running_broker(kind, tmp_path) as running:
        yield running


def alive(pid: int) -> bool:
    """Tell whether a process runs (a zombie does not)."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_a_killed_broker_comes_back_on_its_port(broker: RunningBroker) -> None:
    """Kill -9: the same port again, and every client by itself."""
    port, pid = broker.broker.port, broker.broker.pid
    assert pid is not None
    async with broker.owner() as owner, broker.neighbour() as alice:
        os.kill(pid, signal.SIGKILL)
        await until(lambda: False in owner.states and False in alice.states)
        await until(lambda: owner.mqtt.connected and alice.mqtt.connected)
        alice.mqtt.publish(TOPIC, b"again")
        assert await owner.receives(1) == [(TOPIC, b"again")]
    assert port == broker.broker.port


async def test_what_changed_while_it_was_down_counts(broker: RunningBroker) -> None:
    """A neighbour removed in the moment of a crash does not get back in."""
    pid = broker.broker.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await broker.broker.set_peers(())
    await until(lambda: broker.broker.pid not in (None, pid))
    async with broker.owner() as owner, broker.client(CommonName(ALICE, Role.CTL)) as alice:
        async with asyncio.timeout(DEADLINE_S):
            while not alice.mqtt.last_error:  # until she has been thrown out, if she got in at all
                if alice.mqtt.connected:
                    alice.mqtt.publish(TOPIC, b"forged")
                await asyncio.sleep(0.005)
        assert owner.received == []


async def test_stopping_ends_the_process(kind: Kind, tmp_path: Path) -> None:
    """Nothing is left behind."""
    async with running_broker(kind, tmp_path) as running:
        pid = running.broker.pid
        assert pid is not None
        assert alive(pid)
    assert not alive(pid)


async def test_a_killed_node_takes_its_broker_along(kind: Kind, tmp_path: Path) -> None:
    """Kill -9 of the node: the port is free for its next start."""
    program = f"""
import asyncio, pathlib
from tests.mesh.running import running_broker
async def main():
    async with running_broker({kind!r}, pathlib.Path({str(tmp_path)!r})) as running:
        print(running.broker.pid, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""
    node = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=subprocess.PIPE)
    assert node.stdout is not None
    pid = int(await node.stdout.readline())
    assert alive(pid)
    node.kill()
    await node.wait()
    await until(lambda: not alive(pid))


@pytest.mark.parametrize("bind_address", ["127.0.0.1", None])
async def test_a_port_in_use_is_named(kind: Kind, tmp_path: Path, bind_address: str | None) -> None:
    """The error names the port and its key; nothing is started."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        broker = Broker(
            owner_id=OWNER,
            directory=tmp_path / "broker",
            authority=BrokerAuthority(tmp_path / "tls"),
            kind=kind,
            port=port,
            bind_address=bind_address,
        )
        with pytest.raises(PortInUseError, match=rf"port {port} \(\[mqtt\] port\)"):
            await broker.run(asyncio.Event())


async def test_a_chosen_port_that_another_program_takes_first_is_chosen_anew(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A free port is another program's by the time the broker listens: the node starts all the same."""
    looked_at: list[int] = []
    with contextlib.ExitStack() as others:

        def check_and_lose(port: int, bind_address: str | None, *, key: str) -> None:
            check_port(port, bind_address, key=key)
            if not looked_at:
                other = others.enter_context(socket.socket())
                other.bind(("127.0.0.1", port))
                other.listen()
            looked_at.append(port)

        check_port = ports.check_port
        monkeypatch.setattr(ports, "check_port", check_and_lose)
        async with running_broker(kind, tmp_path) as running:
            assert running.broker.port == looked_at[-1] != looked_at[0]


async def test_every_address_is_served_by_default(kind: Kind, tmp_path: Path) -> None:
    """Without a bind address it listens on IPv4 and IPv6."""
    broker = Broker(
        owner_id=OWNER,
        directory=tmp_path / "broker",
        authority=BrokerAuthority(tmp_path / "tls"),
        kind=kind,
        port=0,
    )
    ready = asyncio.Event()
    running = asyncio.create_task(broker.run(ready))
    await asyncio.wait_for(ready.wait(), 10)
    try:
        assert await ports.accepts("127.0.0.1", broker.port)
        assert not socket.has_dualstack_ipv6() or await ports.accepts("::1", broker.port)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_broker_that_cannot_start_says_why(kind: Kind, tmp_path: Path) -> None:
    """Its last words are in the error."""
    authority = BrokerAuthority(tmp_path / "tls")
    broker = Broker(owner_id=OWNER, directory=tmp_path / "broker", authority=authority, kind=kind, port=0)
    authority.server_certificate_path.write_text("damaged")
    with pytest.raises(BrokerFailedError, match=f"{kind} ended with code 1 at its start; it said: .*Error"):
        await broker.run(asyncio.Event())


def test_mosquitto_is_preferred_when_it_is_installed(tmp_path: Path) -> None:
    """`auto` takes what is there."""
    broker = Broker(owner_id=OWNER, directory=tmp_path / "broker", authority=BrokerAuthority(tmp_path / "tls"))
    assert (broker.kind == "mosquitto") == (mosquitto.find_mosquitto() is not None)


def test_a_broker_that_is_not_installed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for mosquitto by name is told that it is missing."""
    monkeypatch.setattr(mosquitto, "find_mosquitto", lambda: None)
    authority = BrokerAuthority(tmp_path / "tls")
    with pytest.raises(BrokerFailedError, match="not installed"):
        Broker(owner_id=OWNER, directory=tmp_path / "broker", authority=authority, kind="mosquitto")
    assert Broker(owner_id=OWNER, directory=tmp_path / "broker", authority=authority, kind="auto").kind == "amqtt"


@pytest.mark.program("setpriv")
async def test_a_privileged_port_is_an_error_that_names_it() -> None:
    """A user that may not is told, instead of a broker that ends without a word."""
    weaken = ["setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service", "--"]
    program = "from mesh import ports; ports.check_port(80, None, key='[mqtt] port')"
    process = await asyncio.create_subprocess_exec(*weaken, sys.executable, "-c", program, stderr=subprocess.PIPE)
    _, said = await process.communicate()
    assert b"BrokerFailedError: this user may not listen on port 80 ([mqtt] port)" in said


async def test_a_flood_of_strangers_does_not_flood_the_log(
    broker: RunningBroker, caplog: pytest.LogCaptureFixture
) -> None:
    """A hundred refused connections make a bounded number of lines, and members still get in."""
    caplog.set_level(logging.DEBUG, "mesh.broker")
    for _ in range(100):
        with socket.create_connection(("127.0.0.1", broker.broker.port)) as stranger:
            stranger.sendall(b"\x16\x03\x01 not a handshake")
    async with broker.owner() as owner, broker.neighbour() as alice:
        alice.mqtt.publish(TOPIC, b"hello")
        assert await owner.receives(1) == [(TOPIC, b"hello")]
    assert len(caplog.records) <= 60
    assert "Traceback" not in caplog.text


async def test_silent_strangers_do_not_keep_members_out(broker: RunningBroker) -> None:
    """Sockets that say nothing are ended in a few seconds or do not matter."""
    strangers = [socket.create_connection(("127.0.0.1", broker.broker.port)) for _ in range(40)]
    try:
        async with broker.owner() as owner, broker.neighbour() as alice:
            alice.mqtt.publish(TOPIC, b"hello")
            assert await owner.receives(1) == [(TOPIC, b"hello")]
    finally:
        for stranger in strangers:
            stranger.close()


def test_the_access_list_is_explicit() -> None:
    """Lines for each user, no pattern that a client id could bend."""
    expected = f"user {OWNER}.owner\ntopic read in/#\nuser {ALICE}.ctl\ntopic write in/{ALICE}.ctl/#\n"
    assert mosquitto.access_list([CommonName(OWNER, Role.OWNER), CommonName(ALICE, Role.CTL)]) == expected


def test_who_connects_is_read_from_the_log() -> None:
    """Mosquitto names the client; nothing else in the log looks like that."""
    line = f"New client connected from 192.168.1.7:51010 as {ALICE}.ctl (p2, c1, k10, u'{ALICE}.ctl')."
    assert mosquitto.connected_client(line) == f"{ALICE}.ctl"
    assert mosquitto.connected_client("New connection from 192.168.1.7:51010 on port 8883.") is None


async def test_an_access_list_that_cannot_be_written_is_written_later(tmp_path: Path) -> None:
    """A full or missing directory is an error of ours with a hint; asked again, the broker does what it was told."""
    folder, elsewhere, peer = tmp_path / "broker", tmp_path / "elsewhere", "b" * 52
    broker = Broker(owner_id="a" * 52, directory=folder, authority=BrokerAuthority(tmp_path / "tls"), port=0)
    await broker.set_peers([peer])
    folder.rename(elsewhere)
    with pytest.raises(StorageError):
        await broker.set_peers([])
    elsewhere.rename(folder)
    assert peer in broker._policy_path.read_text()
    await broker.set_peers([])
    assert peer not in broker._policy_path.read_text()


async def test_who_is_removed_is_thrown_out_on_a_full_disk_too(broker: RunningBroker) -> None:
    """The error comes after that; a removal is not put off until there is room."""
    async with broker.owner(), broker.neighbour() as alice:
        folder, elsewhere = broker.directory / "broker", broker.directory / "elsewhere"
        folder.rename(elsewhere)
        with pytest.raises(StorageError):
            await broker.broker.set_peers(())
        await until(lambda: False in alice.states)
        elsewhere.rename(folder)
        await broker.broker.set_peers(())
        assert ALICE not in broker.broker._policy_path.read_text()


async def test_a_broker_that_ends_on_a_full_disk_comes_back_when_there_is_room(
    broker: RunningBroker, caplog: pytest.LogCaptureFixture
) -> None:
    """Its files cannot be written meanwhile; that is said, and tried again."""
    folder, elsewhere, pid = broker.directory / "broker", broker.directory / "elsewhere", broker.broker.pid
    assert pid is not None
    folder.rename(elsewhere)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: "cannot be written" in caplog.text)
    assert not broker.task.done()
    elsewhere.rename(folder)
    await until(lambda: broker.broker.pid not in (None, pid))
    async with broker.owner() as owner:
        assert owner.mqtt.connected
