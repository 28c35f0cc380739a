"""Strangers at the door: slow, silent, loud or many, they are cut and cost nothing that stays."""

import asyncio
import contextlib
import gc
import socket
from collections.abc import AsyncIterator

import pytest

from mesh.core.door_messages import MAX_MESSAGE_BYTES, DoorType, Refusal, framed, refused
from mesh.door import MAX_CONNECTIONS, MAX_PER_SOURCE, Conversation, Door
from mesh.errors import DoorBusyError, LinkDownError, PortInUseError

SOON_S = 10.0


async def echo(conversation: Conversation) -> None:
    """Answer each message with itself, for ever."""
    while True:
        kind, body = await conversation.receive()
        await conversation.send(framed(kind, body))


@contextlib.asynccontextmanager
async def open_door(patience_s: float = SOON_S) -> AsyncIterator[Door]:
    """Run a door on a free port."""
    door, ready = Door(0, echo, patience_s=patience_s), asyncio.Event()
    task = asyncio.create_task(door.run(ready))
    await ready.wait()
    try:
        yield door
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def stranger(door: Door, source: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Knock from an address of the loopback network."""
    return await asyncio.open_connection("127.0.0.1", door.port, local_addr=(source, 0))


async def cut(reader: asyncio.StreamReader) -> bool:
    """Wait for the end of a connection."""
    async with asyncio.timeout(SOON_S):
        with contextlib.suppress(ConnectionResetError):
            return await reader.read() == b""
    return True


async def test_a_conversation_goes_both_ways() -> None:
    """Whatever is framed comes back, also over IPv6 where there is one."""
    async with open_door() as door, await Conversation.open("127.0.0.1", door.port) as conversation:
        for body in (b"one", bytes(MAX_MESSAGE_BYTES - 1)):
            await conversation.send(framed(DoorType.SEALED, body))
            assert await conversation.receive() == (DoorType.SEALED, body)
        await conversation.send(framed(DoorType.SEALED, b"a") + framed(DoorType.SEALED, b"b"))
        assert [(await conversation.receive())[1] for _ in range(2)] == [b"a", b"b"]
        await conversation.send(refused(Refusal.BUSY))
        with pytest.raises(LinkDownError):
            await conversation.receive()


async def test_a_refusal_is_an_error() -> None:
    """What the other side gives as its reason is raised here."""
    async with open_door() as door, await Conversation.open("127.0.0.1", door.port) as conversation:
        conversation._waiting.append(refused(Refusal.BUSY)[2:])
        with pytest.raises(DoorBusyError):
            await conversation.receive()


@pytest.mark.parametrize(
    "noise", [b"GET / HTTP/1.1\r\n\r\n", b"\0\0", b"\xff" * 8, framed(DoorType.SEALED)[:2] + b"\x99"]
)
async def test_noise_is_cut(noise: bytes) -> None:
    """At the first bytes that are no message."""
    async with open_door() as door:
        reader, writer = await stranger(door)
        writer.write(noise)
        assert await cut(reader)
        writer.close()


async def test_the_slow_and_the_silent_are_cut() -> None:
    """Half a message does not buy more time than none."""
    async with open_door(patience_s=0.3) as door:
        silent, slow = await stranger(door), await stranger(door)
        slow[1].write(b"\0")
        assert all(await asyncio.gather(cut(silent[0]), cut(slow[0])))
        for _, writer in (silent, slow):
            writer.close()


async def test_places_are_few_and_no_source_gets_them_all() -> None:
    """Four for one address, eight in all; who goes makes room."""
    async with open_door() as door:
        mine = [await stranger(door) for _ in range(MAX_PER_SOURCE + 1)]
        assert await cut(mine[-1][0])
        others = [await stranger(door, f"127.0.0.{n}") for n in range(2, 2 + MAX_CONNECTIONS - MAX_PER_SOURCE + 1)]
        assert await cut(others[-1][0])
        mine[0][1].close()
        await mine[0][1].wait_closed()
        async with asyncio.timeout(SOON_S):
            while True:
                async with await Conversation.open("127.0.0.1", door.port) as again:
                    with contextlib.suppress(LinkDownError):
                        await again.send(framed(DoorType.SEALED, b"room?"))
                        assert await again.receive() == (DoorType.SEALED, b"room?")
                        break
        for _, writer in (*mine, *others):
            writer.close()


async def test_a_port_in_use_is_named() -> None:
    """With its key in hearth.toml."""
    with socket.create_server(("0.0.0.0", 0)) as other:  # noqa: S104  the door's own address
        port = other.getsockname()[1]
        with pytest.raises(PortInUseError, match=str(port)):
            await Door(port, echo).run(asyncio.Event())


async def test_nobody_at_home() -> None:
    """A door that is not there is a link that is down."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    with pytest.raises(LinkDownError):
        await Conversation.open("127.0.0.1", port)


async def test_who_never_reads_is_cut_off() -> None:
    """What the door still has to say to a peer that reads nothing does not keep the connection alive."""
    talked = asyncio.Event()

    async def answer(conversation: Conversation) -> None:
        await conversation.receive()
        conversation._writer.write(bytes(64 * 1024 * 1024))
        talked.set()

    door, ready = Door(0, answer, bind_address="127.0.0.1"), asyncio.Event()
    running = asyncio.create_task(door.run(ready))
    await ready.wait()
    with socket.create_connection(("127.0.0.1", door.port)) as peer:
        peer.sendall(framed(DoorType.PROBE, b"x"))
        async with asyncio.timeout(10):
            await talked.wait()
            while door._talking:
                assert door._sources.total() == 1  # its place is taken until it is gone
                await asyncio.wait(door._talking)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert not door._talking


@pytest.mark.parametrize("turns", range(5))
async def test_who_knocks_while_the_door_closes_is_cut_off(turns: int) -> None:
    """Whenever it comes, no socket is left open."""
    door, ready = Door(0, echo, bind_address="127.0.0.1"), asyncio.Event()
    running = asyncio.create_task(door.run(ready))
    await ready.wait()
    with socket.create_connection(("127.0.0.1", door.port)) as peer:
        peer.settimeout(SOON_S)
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        gc.collect()
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.to_thread(peer.recv, 1) == b""
    assert not door._talking
